//! The same against strongSwan 6.0.1: what a release in between may have changed of the exchanges, in both roles.

use adit_testbed::pki::Algorithm;
use adit_testbed::{Auth, Roles};

use crate::{lifecycle, matrix, network};

/// As `cases!`, with the newer strongSwan in the place of the older one; both ours is not its business.
macro_rules! newer {
    ($($(#[$doc:meta])* $case:ident = $function:expr;)*) => {$(
        $(#[$doc])*
        mod $case {
            #[allow(unused_imports, reason = "not every case is a closure that needs them")]
            use super::*;
            #[test]
            fn reference() {
                crate::run(module_path!(), "reference", Roles::REFERENCE_6, $function);
            }
            #[test]
            fn our_gateway() {
                crate::run(module_path!(), "our_gateway", Roles::OUR_GATEWAY_6, $function);
            }
            #[test]
            fn our_client() {
                crate::run(module_path!(), "our_client", Roles::OUR_CLIENT_6, $function);
            }
        }
    )*};
}

newer! {
    /// Pre-shared keys through a NAT, an address from the pool, traffic.
    psk = |roles| matrix::round(roles, Auth::Psk);
    /// The gateway by certificate, the road-warrior by EAP-MSCHAPv2.
    eap_mschapv2 = |roles| matrix::round(roles, Auth::Eap);
    /// ECDSA certificates both ways.
    certificates = |roles| matrix::round(roles, Auth::Certificates(Algorithm::EcdsaP256));
    /// Certificates so large that IKE_AUTH goes in fragments.
    fragments = network::with_fragments;
    /// A fifth of all packets lost, each way.
    loss = network::with_loss;
    /// The road-warrior gets another address (RFC 4555).
    moved = network::with_move;
    /// The road-warrior rekeys its CHILD_SA.
    rekey_child_by_client = |roles| lifecycle::rekey(roles, true, false);
    /// The gateway rekeys its CHILD_SA.
    rekey_child_by_gateway = |roles| lifecycle::rekey(roles, true, true);
    /// The road-warrior rekeys the IKE_SA.
    rekey_ike_by_client = |roles| lifecycle::rekey(roles, false, false);
    /// The gateway rekeys the IKE_SA.
    rekey_ike_by_gateway = |roles| lifecycle::rekey(roles, false, true);
    /// The road-warrior reauthenticates.
    reauth_by_client = |roles| lifecycle::reauthenticate(roles, false);
    /// The gateway says for how long it believes the road-warrior (RFC 4478).
    reauth_by_gateway = |roles| lifecycle::reauthenticate(roles, true);
    /// The gateway vanishes and comes back.
    killed_gateway = lifecycle::kill_gateway;
    /// The path is cut for longer than the peers wait.
    cut = lifecycle::cut;
    /// The road-warrior deletes the IKE_SA.
    delete_by_client = |roles| lifecycle::delete(roles, false);
    /// The gateway deletes the IKE_SA.
    delete_by_gateway = |roles| lifecycle::delete(roles, true);
}
