//! Every kind of exchange, with one message of it to bend.

use adit_ike::Command;
use adit_wire::ExchangeType;

use crate::lab::{Lab, Msg, honest};
use crate::net::End;
use crate::pki::Algorithm;
use crate::setup::Auth;

/// An exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    Init,
    AuthPsk,
    AuthCert,
    /// The nth IKE_AUTH exchange of EAP-MSCHAPv2, for a road-warrior that asks for addresses.
    Eap(usize),
    RekeyChild,
    RekeyIke,
    /// Two children: the second comes by CREATE_CHILD_SA, with a key exchange.
    NewChild,
    DeleteChild,
    DeleteIke,
}

impl Scene {
    pub const ALL: [Self; 13] = [
        Self::Init,
        Self::AuthPsk,
        Self::AuthCert,
        Self::Eap(0),
        Self::Eap(1),
        Self::Eap(2),
        Self::Eap(3),
        Self::Eap(4),
        Self::RekeyChild,
        Self::RekeyIke,
        Self::NewChild,
        Self::DeleteChild,
        Self::DeleteIke,
    ];

    pub fn lab(self) -> Lab {
        let auth = match self {
            Self::AuthCert => Auth::Cert(Algorithm::Ed25519),
            Self::Eap(_) => Auth::EapAndPsk,
            _ => Auth::Psk,
        };
        Lab::with(auth, |setup| {
            setup.both(|side| {
                side.ike(&["aes256gcm16-prfsha256-x25519"]);
                side.esp(&["aes256gcm16-x25519", "aes128-sha256"]);
            });
            if let Self::Eap(_) = self {
                setup.road_warrior();
            }
            if self == Self::NewChild {
                setup.add_child("second", "10.4.0.0/16", "10.5.0.0/16");
            }
        })
    }

    fn exchange(self) -> ExchangeType {
        match self {
            Self::Init => ExchangeType::IKE_SA_INIT,
            Self::AuthPsk | Self::AuthCert | Self::Eap(_) => ExchangeType::IKE_AUTH,
            Self::RekeyChild | Self::RekeyIke | Self::NewChild => ExchangeType::CREATE_CHILD_SA,
            Self::DeleteChild | Self::DeleteIke => ExchangeType::INFORMATIONAL,
        }
    }

    /// What happened is one of three things: it made no difference in the end; somebody said or counted something; or,
    /// as any INFORMATIONAL request may say nothing at all, it was answered.
    pub fn is_defined(self, lab: &Lab) -> bool {
        let may_say_nothing = self.exchange() == ExchangeType::INFORMATIONAL;
        lab.agrees() || lab.noticed() || (may_say_nothing && !lab.answers.is_empty())
    }

    /// Plays it, mallory being the one that asks if `response` is false, and the one that is asked otherwise only in
    /// that its answers are the gateway's: always the gateway's messages are bent with `response`. Was there one?
    pub fn play(self, lab: &mut Lab, response: bool, bend: &mut dyn FnMut(&mut Msg)) -> bool {
        let (exchange, skip) = (self.exchange(), if let Self::Eap(nth) = self { nth } else { 0 });
        let mut seen = 0;
        let mut once = |msg: &mut Msg| {
            if msg.is(exchange, response) && msg.to_gateway != response {
                seen += 1;
                if seen == skip + 1 {
                    bend(msg);
                }
            }
        };
        let early = matches!(self, Self::Init | Self::AuthPsk | Self::AuthCert | Self::Eap(_));
        if early {
            lab.connect(&mut once);
        } else {
            assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
            lab.forget();
            let (ike, child) = lab.ids(End::Client).expect("an SA");
            let command = match self {
                Self::RekeyChild => Command::RekeyChild { id: child },
                Self::RekeyIke => Command::RekeyIke { id: ike },
                Self::NewChild => {
                    let (conn, child) = (Some("site".into()), Some("second".into()));
                    Command::Initiate { conn, child, tag: 99, trigger: None }
                }
                Self::DeleteChild => Command::TerminateChild { id: child, tag: 99 },
                _ => Command::TerminateIke { id: ike, force: false, tag: 99 },
            };
            lab.command(End::Client, command, &mut once);
        }
        seen > skip
    }
}
