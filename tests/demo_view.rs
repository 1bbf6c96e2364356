//! The screen of the demo: what is on it, at every size.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers fail a test by panicking")]

use std::sync::Arc;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use xbr_core::{ApiId, KeyId};
use xbr_seller::demo::accounts::Totals;
use xbr_seller::demo::board::{ApiBoard, Board, RecentEvent};
use xbr_seller::demo::view::{Theme, draw};

fn api(number: u8, prefix: &str, price: &str, interval: Option<u64>) -> ApiBoard {
    ApiBoard {
        api_id: ApiId::new([number; 16]),
        prefix: prefix.to_owned(),
        price: price.parse().unwrap(),
        interval: interval.map(Duration::from_secs),
        key: Some((KeyId::new([number; 16]), Duration::from_secs(92))),
        rotations: 12,
        sold: 48,
    }
}

fn board() -> Board {
    let apis = vec![api(1, "demo.weather", "0.25", Some(8)), api(2, "demo.wind", "1.5", None)];
    let dashboard = Some("127.0.0.1:7070".parse().unwrap());
    let mut board = Board { buyers: 4, dashboard, apis, offers: 4, ..Board::default() };
    for second in 0..95 {
        let at = Duration::from_secs(second);
        board.sales.add(at, second % 9);
        let payload = format!("{{\"number\":{second},\"celsius\":21.37,\"humidity\":48.2}}");
        let key_id = KeyId::new([1; 16]);
        board.decrypted(RecentEvent { at, topic: Arc::from("demo.weather"), key_id, payload, buyers: 4 });
    }
    board.advance(Duration::from_millis(95_400));
    board.money = Totals {
        remaining: "399926.5".parse().unwrap(),
        spent: "73.5".parse().unwrap(),
        received: "73.5".parse().unwrap(),
        paid: "73.5".parse().unwrap(),
        earned: "73.123456789".parse().unwrap(),
        ..Totals::default()
    };
    board
}

fn drawn(board: &Board, width: u16, height: u16, colours: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, board, Theme { colours })).unwrap();
    terminal
}

fn text(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let width = usize::from(buffer.area.width);
    let rows =
        buffer.content.chunks(width).map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    rows.map(|row| row.trim_end().to_owned() + "\n").collect()
}

#[test]
fn everything_is_on_a_screen_of_80_by_24() {
    let text = text(&drawn(&board(), 80, 24, true));
    for shown in [
        " xbr-seller demo  a data market  4 buyers, 4 offers",
        "00:01:35  Ctrl-C ends\n",
        "╭ Keys on sale ─",
        "─ Dashboard: http://127.0.0.1:7070/ ╮\n",
        "│ demo.weather   0.2500 XBR  01010101  █████▊····   4.6 s   12 keys    48 sold │\n",
        "│ demo.wind      1.5000 XBR  02020202  used once",
        "╭ Keys sold ",
        " 2.0/s, 370 in all ╮",
        " 4.0/s, 380 in all ╮\n",
        "│ buyers               spent            73.5000   remaining        399926.5000 │\n",
        "│ market maker      received            73.5000        paid            73.5000 │\n",
        "│ seller              earned            73.1234 ",
        "│ demo.weather  01010101  {\"number\":94,\"celsius\":21.37,\"humidity\":48.2}",
        "    4× │\n",
    ] {
        assert!(text.contains(shown), "{shown} in\n{text}");
    }
    assert_eq!((text.lines().count(), text.lines().next_back().unwrap().chars().count()), (24, 80));
}

#[test]
fn in_flight_money_is_not_called_agreed() {
    let mut board = board();
    assert!(text(&drawn(&board, 80, 24, true)).contains("○ in flight"));
    board.money.earned = board.money.paid;
    assert!(text(&drawn(&board, 80, 24, true)).contains("● agreed"));
}

#[test]
fn no_size_of_the_terminal_is_too_small_or_too_large() {
    for (width, height) in [(1, 1), (3, 60), (20, 5), (79, 23), (200, 70), (400, 2)] {
        for board in [Board::default(), board()] {
            drawn(&board, width, height, true);
        }
    }
}

#[test]
fn without_colours_there_are_none() {
    let plain = drawn(&board(), 80, 24, false);
    let cells = &plain.backend().buffer().content;
    assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    assert_eq!(text(&plain), text(&drawn(&board(), 80, 24, true)));
}
