//! A daemon's own news over VICI, with the moment at which they came. `swanctl --monitor-sa` asks for two kinds of
//! events only, so this speaks as much of the protocol as it takes to hear of any: names, not contents.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

// types of packets
const EVENT_REGISTER: u8 = 3;
const EVENT_CONFIRM: u8 = 5;
const EVENT: u8 = 7;

/// The events that came until now; more come until it is dropped.
pub struct Events {
    heard: Arc<Mutex<Vec<(Instant, String)>>>,
    stream: UnixStream,
}

impl Events {
    /// Listens at the control `socket` for the events `names`.
    pub fn listen(socket: &Path, names: &[&str]) -> Self {
        let mut stream = UnixStream::connect(socket).expect("the control socket");
        for name in names {
            let length = u8::try_from(name.len()).expect("a short name");
            let packet = [&[0, 0, 0, length + 2, EVENT_REGISTER, length], name.as_bytes()].concat();
            stream.write_all(&packet).expect("registering");
            // an event registered before may be quicker than the confirmation; nothing happens yet where this is used
            let answer = packet_of(&mut stream).expect("a confirmation");
            assert_eq!(answer.first(), Some(&EVENT_CONFIRM), "the daemon knows no event {name}");
        }
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, list) = (stream.try_clone().expect("a second handle"), heard.clone());
        std::thread::spawn(move || {
            while let Ok(packet) = packet_of(&mut reader) {
                let now = Instant::now();
                if let [EVENT, length, rest @ ..] = packet.as_slice() {
                    let name = String::from_utf8_lossy(&rest[..usize::from(*length)]).into_owned();
                    list.lock().expect("no one panicked").push((now, name));
                }
            }
        });
        Self { heard, stream }
    }

    /// When the events called `name` came.
    pub fn times(&self, name: &str) -> Vec<Instant> {
        let heard = self.heard.lock().expect("no one panicked");
        heard.iter().filter(|(_, n)| n == name).map(|(at, _)| *at).collect()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // ends the reader; the daemon may have closed it before
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// A packet behind its length: type, and what belongs to it.
fn packet_of(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut packet = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut packet)?;
    Ok(packet)
}
