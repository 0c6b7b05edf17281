//! Where a command reads from and writes to, so that a test can stand in for the terminal.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};

use clap::builder::styling::{AnsiColor, Style};

use super::format::OutputError;
use super::name::ProgramName;

/// What stands at the other end of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// A file, a pipe or a test.
    Plain,
    /// A terminal that wants no colours.
    Monochrome,
    /// A terminal with colours.
    Coloured,
}

impl Surface {
    fn of(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        // https://no-color.org: set, and not empty.
        let refuses = no_color.is_some_and(|value| !value.is_empty()) || term == Some(OsStr::new("dumb"));
        match (is_terminal, refuses) {
            (false, _) => Self::Plain,
            (true, true) => Self::Monochrome,
            (true, false) => Self::Coloured,
        }
    }

    /// Returns `true` for a terminal, where somebody watches.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Monochrome | Self::Coloured)
    }

    /// Paints a text, if the surface shows colours.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        match self {
            Self::Plain | Self::Monochrome => text.to_owned(),
            Self::Coloured => {
                let style = tone.style();
                format!("{style}{text}{style:#}")
            }
        }
    }
}

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It holds.
    Good,
    /// It does not hold.
    Bad,
    /// Somebody should look at it.
    Doubtful,
    /// Beside the point.
    Faint,
    /// What follows is about it.
    Title,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Doubtful => AnsiColor::Yellow.on_default(),
            Self::Faint => Style::new().dimmed(),
            Self::Title => Style::new().bold(),
        }
    }
}

struct Sink {
    writer: Box<dyn Write + Send>,
    surface: Surface,
    is_closed: bool,
}

impl Sink {
    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        match self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush()) {
            // The reader has seen enough, as `head` does. What the command does, and its exit code, stay the
            // same.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            other => other,
        }
    }
}

/// Standard input and both outputs of a command.
///
/// Secrets that were [concealed](Self::conceal) leave through neither output.
pub struct Console {
    out: Sink,
    err: Sink,
    input: Box<dyn Read + Send>,
    input_is_terminal: bool,
    secrets: Vec<String>,
    name: ProgramName,
}

/// Shorter secrets are not looked for: they would blot out innocent text.
const MIN_SECRET_BYTES: usize = 16;

impl Console {
    /// Stands for the streams of the process. Colours need a terminal, and no `NO_COLOR`.
    #[must_use]
    pub fn of_process() -> Self {
        let (no_color, term) = (std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
        let surface = |is_terminal| Surface::of(is_terminal, no_color.as_deref(), term.as_deref());
        let (out, err, input) = (io::stdout(), io::stderr(), io::stdin());
        let input_is_terminal = input.is_terminal();
        Self::new(
            (surface(out.is_terminal()), Box::new(out)),
            (surface(err.is_terminal()), Box::new(err)),
            Box::new(input),
        )
        .with_input_terminal(input_is_terminal)
    }

    /// Stands for streams of the caller's choice; the input is no terminal.
    #[must_use]
    pub fn new(
        (out_surface, out): (Surface, Box<dyn Write + Send>),
        (err_surface, err): (Surface, Box<dyn Write + Send>),
        input: Box<dyn Read + Send>,
    ) -> Self {
        Self {
            out: Sink { writer: out, surface: out_surface, is_closed: false },
            err: Sink { writer: err, surface: err_surface, is_closed: false },
            input,
            input_is_terminal: false,
            secrets: Vec::new(),
            name: ProgramName::default(),
        }
    }

    /// Takes the name of the program for what is said of its commands.
    pub(super) const fn call_program(&mut self, name: ProgramName) {
        self.name = name;
    }

    /// Returns a text of our own in which commands stand as the program was called.
    pub(super) fn in_own_name(&self, text: &str) -> String {
        self.name.in_text(text)
    }

    fn with_input_terminal(self, input_is_terminal: bool) -> Self {
        Self { input_is_terminal, ..self }
    }

    /// Returns what standard output is.
    #[must_use]
    pub const fn out_surface(&self) -> Surface {
        self.out.surface
    }

    /// Returns what standard error is.
    #[must_use]
    pub const fn err_surface(&self) -> Surface {
        self.err.surface
    }

    /// Returns `true` if nobody reads standard output any longer.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.out.is_closed
    }

    /// Makes sure that a secret is never written, whoever quotes it.
    pub fn conceal(&mut self, secret: &str) {
        if secret.len() >= MIN_SECRET_BYTES {
            self.secrets.push(secret.to_owned());
        }
    }

    /// Returns a text without what was concealed.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[a token]"))
    }

    /// Writes to standard output. A reader that has gone is no error.
    ///
    /// # Errors
    /// What the operating system said, e.g. because the disk is full.
    pub fn print(&mut self, text: &str) -> Result<(), OutputError> {
        let text = self.without_secrets(text);
        Ok(self.out.write(&text)?)
    }

    /// Writes to standard error, as far as that is possible: there is nowhere left to complain.
    pub fn note(&mut self, text: &str) {
        let text = self.without_secrets(text);
        self.err.write(&text).unwrap_or_default();
    }

    /// Writes a line with a painted label in front to standard error.
    pub fn remark(&mut self, tone: Tone, label: &str, text: &str) {
        let label = self.err.surface.paint(tone, &format!("{label}:"));
        self.note(&format!("{label} {}\n", printable(&self.name.in_text(text))));
    }

    /// Writes an error to standard error.
    pub fn error(&mut self, error: &impl fmt::Display) {
        self.remark(Tone::Bad, "error", &error.to_string());
    }

    /// Reads a token from standard input: to its end, but no more than `limit` bytes.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn read(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        self.read_what("token", limit)
    }

    /// Reads a manifest in the same way.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn read_manifest(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        self.read_what("manifest", limit)
    }

    fn read_what(&mut self, what: &str, limit: u64) -> io::Result<Vec<u8>> {
        if self.input_is_terminal {
            self.note(&format!("Paste the {what}, press Enter, then Ctrl-D.\n"));
        }
        let mut bytes = Vec::new();
        self.input.by_ref().take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("out", &self.out.surface)
            .field("err", &self.err.surface)
            .finish_non_exhaustive()
    }
}

/// Escapes what would steer a terminal: texts of others must not move its cursor or rename its window.
#[must_use]
pub(super) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, character| {
        if character.is_control() && character != '\n' || is_invisible_direction(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
        safe
    })
}

/// Marks that reorder the text around them, so that one subject could pass for another.
const fn is_invisible_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn colours_need_a_terminal_that_wants_them() {
        let set = |text: &'static str| Some(OsStr::new(text));
        assert_eq!(Surface::of(true, None, set("xterm")), Surface::Coloured);
        assert_eq!(Surface::of(true, set(""), None), Surface::Coloured);
        assert_eq!(Surface::of(true, set("1"), None), Surface::Monochrome);
        assert_eq!(Surface::of(true, None, set("dumb")), Surface::Monochrome);
        assert_eq!(Surface::of(false, None, set("xterm")), Surface::Plain);
        assert_eq!(Surface::Monochrome.paint(Tone::Good, "x"), "x");
        assert_eq!(Surface::Coloured.paint(Tone::Good, "x"), "\u{1b}[32mx\u{1b}[0m");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let plain = |writer: Box<dyn Write + Send>| (Surface::Plain, writer);
        let mut console = Console::new(plain(Box::new(Gone)), plain(Box::new(Gone)), Box::new(io::empty()));
        assert!(!console.is_closed());
        console.print("a").unwrap();
        console.print("b").unwrap();
        console.note("c");
        assert!(console.is_closed());
    }

    #[test]
    fn what_would_steer_a_terminal_is_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\nc");
        assert_eq!(printable("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(printable("Zoë ✓"), "Zoë ✓");
    }
}
