//! The terminal, while the board is on it: an alternate screen, on which what is typed does not show. The
//! terminal is as it was when this is dropped.

use std::io::{self, IsTerminal, Stdout, stdin, stdout};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcsetattr,
};

use super::board::Board;
use super::view::{self, Theme};

/// The screen. Signals still come from the keyboard, so that Ctrl-C does what it does elsewhere.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// How the keyboard was, when it is a terminal.
    keyboard: Option<Termios>,
    theme: Theme,
}

impl Screen {
    /// Whether there is a terminal to draw on.
    pub fn is_there() -> bool {
        stdout().is_terminal()
    }

    /// Takes the terminal over.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn enter() -> io::Result<Self> {
        // https://no-color.org: whatever it holds, unless it is empty.
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut screen = Self {
            terminal: Terminal::new(CrosstermBackend::new(stdout()))?,
            keyboard: tcgetattr(stdin()).ok(),
            theme: Theme { colours },
        };
        if let Some(keyboard) = &screen.keyboard {
            let mut silent = keyboard.clone();
            silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
            // Neither of them would leave the terminal as it was.
            for code in [SpecialCodeIndex::VQUIT, SpecialCodeIndex::VSUSP] {
                silent.special_codes[code] = 0;
            }
            tcsetattr(stdin(), OptionalActions::Now, &silent)?;
        }
        execute!(screen.terminal.backend_mut(), EnterAlternateScreen, Hide)?;
        screen.terminal.clear()?;
        Ok(screen)
    }

    /// Draws the board, whatever size the terminal has now.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn draw(&mut self, board: &Board) -> io::Result<()> {
        self.terminal.draw(|frame| view::draw(frame, board, self.theme)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        let _ = execute!(self.terminal.backend_mut(), LeaveAlternateScreen, Show);
        if let Some(keyboard) = &self.keyboard {
            let _ = tcflush(stdin(), QueueSelector::IFlush);
            let _ = tcsetattr(stdin(), OptionalActions::Now, keyboard);
        }
    }
}
