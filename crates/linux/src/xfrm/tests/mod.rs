//! The encoding against what others encode, and the conversation against a kernel that misbehaves.

mod answers;
mod events;
mod hostile;
mod peer;
mod requests;

/// The entries of a file of recorded bytes: the first line of each, and the hexadecimal rest.
fn recorded(file: &str) -> impl Iterator<Item = (&str, String)> {
    file.split("\n\n").skip(1).map(|entry| {
        let (name, rest) = entry.split_once('\n').unwrap();
        (name, rest.split_whitespace().collect())
    })
}

fn octets(hexadecimal: &str) -> Vec<u8> {
    (0..hexadecimal.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap())
        .collect()
}
