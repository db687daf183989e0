//! A cursor over the text of a configuration file: the lexical rules that both files share.
//!
//! Values are lexed differently from everything else (`{ , . = :` are ordinary characters in them), so the parser
//! asks for what it expects instead of reading a stream of tokens.

use zeroize::Zeroizing;

/// What a value turned out to be.
pub(crate) enum LexedValue {
    /// `name = some words`, and the byte range from the first to the last of them.
    Text(Zeroizing<String>, usize, usize),
    /// `name =`: the key is cleared.
    Empty,
    /// A string without its closing quote; the cursor stands at the end of the line that opened it.
    Unclosed {
        /// Byte offset of the opening quote.
        quote: usize,
    },
}

/// The cursor.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    pos: usize,
}

/// One or more of these make a name.
pub(crate) fn is_name_char(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && !matches!(c, '#' | '{' | '}' | ':' | '.' | ',' | '=' | '"')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        // Editors of another system put a byte order mark there.
        let pos = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, pos }
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.pos..).unwrap_or("")
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(crate) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.pos += rest.find(|c| !keep(c)).unwrap_or(rest.len());
    }

    /// Spaces and tabs, but not the end of the line.
    pub(crate) fn skip_blank(&mut self) {
        self.skip_while(is_blank);
    }

    /// Everything between statements: blanks, newlines and comments.
    pub(crate) fn skip_all(&mut self) {
        loop {
            self.skip_while(char::is_whitespace);
            if self.peek() != Some('#') {
                return;
            }
            self.skip_while(|c| c != '\n');
        }
    }

    /// A name, possibly empty.
    pub(crate) fn name(&mut self) -> &'a str {
        let start = self.pos;
        self.skip_while(is_name_char);
        self.text.get(start..self.pos).unwrap_or("")
    }

    /// After the word `include`: is it the directive (and not a key or a section of that name)?
    pub(crate) fn include_follows(&self) -> bool {
        let rest = self.rest();
        let pattern = rest.trim_start_matches(is_blank);
        pattern.len() < rest.len() && !pattern.is_empty() && !pattern.starts_with(['=', '\n', '#', '}', '{'])
    }

    /// The pattern of an `include`: quoted, or bare with `\` escaping `" # }` and space. `None` if a quote is not closed.
    pub(crate) fn include_pattern(&mut self) -> Option<(Zeroizing<String>, usize, usize)> {
        self.skip_blank();
        let start = self.pos;
        if self.peek() == Some('"') {
            return self.quoted().map(|pattern| (pattern, start, self.pos));
        }
        let mut pattern = Zeroizing::new(String::new());
        while let Some(c) = self.peek() {
            if c.is_whitespace() || matches!(c, '#' | '}' | '"') {
                break;
            }
            self.bump();
            match self.peek() {
                Some(escaped @ ('"' | '#' | '}' | ' ')) if c == '\\' => {
                    pattern.push(escaped);
                    self.bump();
                }
                _ => pattern.push(c),
            }
        }
        Some((pattern, start, self.pos))
    }

    /// What stands behind `=`.
    pub(crate) fn value(&mut self) -> LexedValue {
        let mut value: Option<Zeroizing<String>> = None;
        let (mut start, mut end) = (self.pos, self.pos);
        loop {
            self.skip_blank();
            let here = self.pos;
            let part = match self.peek() {
                None | Some('\n' | '#' | '}') => break,
                Some('"') => match self.quoted() {
                    Some(part) => part,
                    None => {
                        self.skip_while(|c| c != '\n');
                        return LexedValue::Unclosed { quote: here };
                    }
                },
                Some(_) => {
                    self.skip_while(|c| !c.is_whitespace() && !matches!(c, '#' | '}' | '"'));
                    if self.pos == here {
                        // Whitespace that is neither blank nor newline (form feed, no-break space …).
                        self.bump();
                        continue;
                    }
                    Zeroizing::new(self.text.get(here..self.pos).unwrap_or("").to_owned())
                }
            };
            end = self.pos;
            match &mut value {
                None => {
                    start = here;
                    value = Some(part);
                }
                Some(value) => {
                    value.push(' ');
                    value.push_str(&part);
                }
            }
        }
        value.map_or(LexedValue::Empty, |text| LexedValue::Text(text, start, end))
    }

    /// A quoted string at the cursor, or `None` with the cursor unmoved if it never ends.
    fn quoted(&mut self) -> Option<Zeroizing<String>> {
        let start = self.pos;
        self.bump();
        // As large as it can get, so that no copy of a secret is left behind by growing.
        let room = self.rest().find('"').unwrap_or(0);
        let mut string = Zeroizing::new(String::with_capacity(room));
        loop {
            match self.bump() {
                Some('"') => return Some(string),
                Some('\\') => match self.bump() {
                    Some('n') => string.push('\n'),
                    Some('r') => string.push('\r'),
                    Some('t') => string.push('\t'),
                    Some('\n') => {}
                    Some('\r') if self.peek() == Some('\n') => {
                        self.bump();
                    }
                    Some(other) => string.push(other),
                    None => break,
                },
                Some(c) => string.push(c),
                None => break,
            }
        }
        self.pos = start;
        None
    }

    /// After a mistake: goes on to the end of the line, stopping before a `}`. Returns how many `{` were passed, so that
    /// the braces that close them are not mistaken for others.
    pub(crate) fn recover(&mut self) -> usize {
        let mut opened = 0;
        while let Some(c) = self.peek() {
            match c {
                '\n' | '}' => break,
                '#' => {
                    self.skip_while(|c| c != '\n');
                    break;
                }
                '"' => {
                    if self.quoted().is_none() {
                        self.skip_while(|c| c != '\n');
                    }
                }
                _ => {
                    opened += usize::from(c == '{');
                    self.bump();
                }
            }
        }
        opened
    }
}
