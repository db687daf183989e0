//! Rows 11 and 36: every payload of every exchange left out, doubled, and swapped with every other.

use crate::lab::{Lab, Msg};
use crate::scenes::Scene;
use crate::wire::Raw;

fn play(lab: &mut Lab, scene: Scene, response: bool, what: &str, bend: &mut dyn FnMut(&mut Msg)) {
    scene.play(lab, response, bend);
    assert!(scene.is_defined(lab), "in silence: {what}\n{}", lab.story());
    assert!(lab.errors().len() <= 1, "{what}: {:?}\n{}", lab.errors(), lab.story());
    lab.clean();
}

fn all(scene: Scene) {
    let mut lab = scene.lab();
    for response in [false, true] {
        let mut chain: Vec<Raw> = Vec::new();
        let found = scene.play(&mut lab, response, &mut |msg| chain.clone_from(&msg.chain));
        assert!(found, "{scene:?} {response}: there is none\n{}", lab.story());
        lab.clean();
        let name = |what: &str, at: &[usize]| format!("{scene:?}, response {response}: {what} {at:?}");
        for at in 0..chain.len() {
            play(&mut lab, scene, response, &name("without", &[at]), &mut |msg| {
                msg.chain.remove(at);
            });
            play(&mut lab, scene, response, &name("twice", &[at]), &mut |msg| {
                msg.chain.insert(at, msg.chain[at].clone());
            });
            play(&mut lab, scene, response, &name("twice, at the end", &[at]), &mut |msg| {
                msg.chain.push(msg.chain[at].clone());
            });
            play(&mut lab, scene, response, &name("empty", &[at]), &mut |msg| msg.chain[at].body.clear());
            for kind in (33..=48).chain([53, 0, 1, 255]) {
                play(&mut lab, scene, response, &name(&format!("named {kind}"), &[at]), &mut |msg| {
                    msg.chain[at].kind = kind;
                });
            }
            for other in at + 1..chain.len() {
                play(&mut lab, scene, response, &name("swapped", &[at, other]), &mut |msg| {
                    msg.chain.swap(at, other);
                });
            }
        }
        for (what, bend) in [
            ("none at all", (|msg: &mut Msg| msg.chain.clear()) as fn(&mut Msg)),
            ("backwards", |msg| msg.chain.reverse()),
            ("all twice", |msg| msg.chain.extend(msg.chain.clone())),
        ] {
            play(&mut lab, scene, response, &name(what, &[]), &mut |msg| bend(msg));
        }
    }
    lab.finish();
}

#[test]
fn row_11_first_exchanges() {
    for scene in [Scene::Init, Scene::AuthPsk, Scene::AuthCert] {
        all(scene);
    }
}

#[test]
fn row_11_eap() {
    for nth in 0..5 {
        all(Scene::Eap(nth));
    }
}

#[test]
fn row_11_later_exchanges() {
    for scene in [Scene::RekeyChild, Scene::RekeyIke, Scene::NewChild, Scene::DeleteChild, Scene::DeleteIke] {
        all(scene);
    }
}
