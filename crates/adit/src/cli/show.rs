//! Printing: tables, colours for terminals, and nothing that a peer could drive a terminal with.

use std::io::{self, IsTerminal as _, Write as _};

/// A colour, by what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// On its way.
    Pending,
    /// Not as it should be.
    Bad,
    /// Nothing special.
    Plain,
}

/// Does standard output go to somebody's eyes, and do these want colours?
pub(super) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Prints. A reader that has gone away (`| head`) is no error.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The text without control characters: names and identities come from peers.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Columns that are as wide as they need to be.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<(Vec<String>, Tone)>,
}

impl Table {
    pub(super) fn with_head(head: &[&str]) -> Self {
        let mut table = Self::default();
        table.row(head.iter().map(|h| (*h).to_owned()).collect(), Tone::Plain);
        table
    }

    pub(super) fn row(&mut self, cells: Vec<String>, tone: Tone) {
        self.rows.push((cells.iter().map(|c| plain(c)).collect(), tone));
    }

    /// The table as text; the tone colours the column `toned`.
    pub(super) fn render(&self, toned: usize, colours: bool) -> String {
        let columns = self.rows.iter().map(|(cells, _)| cells.len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|i| {
                self.rows.iter().filter_map(|(c, _)| c.get(i)).map(|c| c.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for (cells, tone) in &self.rows {
            let mut line = String::new();
            for (i, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                if i > 0 {
                    line.push_str("  ");
                }
                match code(*tone) {
                    Some(code) if colours && i == toned => {
                        line.push_str(&format!("\x1b[{code}m{cell}\x1b[0m"));
                    }
                    _ => line.push_str(cell),
                }
                line.push_str(&padding);
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

fn code(tone: Tone) -> Option<u8> {
    match tone {
        Tone::Good => Some(32),
        Tone::Pending => Some(33),
        Tone::Bad => Some(31),
        Tone::Plain => None,
    }
}

/// `3s`, `12m`, `5h`, `3d`: roughly how long.
pub(super) fn roughly(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `912 B`, `18.0 KiB`, `4.2 GiB`.
pub(super) fn bytes(n: u64) -> String {
    let mut unit = "B";
    let mut value = n as f64;
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_hide_control_characters() {
        let mut table = Table::with_head(&["NAME", "STATE"]);
        table.row(vec!["a-long-name".into(), "up".into()], Tone::Good);
        table.row(vec!["x\x1b[2J".into(), "down".into()], Tone::Bad);
        assert_eq!(table.render(1, false), "NAME         STATE\na-long-name  up\nx\u{fffd}[2J        down\n");
        assert!(table.render(1, true).contains("a-long-name  \x1b[32mup\x1b[0m\n"));
    }

    #[test]
    fn units() {
        assert_eq!([roughly(5), roughly(119), roughly(600), roughly(7200)], ["5s", "119s", "10m", "2h"]);
        assert_eq!([bytes(912), bytes(18_432), bytes(5 << 30)], ["912 B", "18.0 KiB", "5.0 GiB"]);
    }
}
