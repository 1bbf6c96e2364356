//! The screen of the demo: from the board to a frame, and nothing else.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Padding, Paragraph, Sparkline};
use xbr_core::Amount;

use super::accounts::Totals;
use super::board::{ApiBoard, Board, Meter, RecentEvent};

/// How many decimals of an amount there is room for.
const DECIMALS: usize = 4;
/// The parts of a cell that is filled from the left: none to seven eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// The colours, or none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Whether there are colours.
    pub colours: bool,
}

impl Theme {
    fn style(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn quiet(self) -> Style {
        if self.colours { Style::new().fg(Color::DarkGray) } else { Style::new().add_modifier(Modifier::DIM) }
    }

    fn key(self) -> Style {
        self.style(Color::Cyan)
    }

    fn sale(self) -> Style {
        self.style(Color::Green)
    }

    fn event(self) -> Style {
        self.style(Color::Blue)
    }

    fn money(self) -> Style {
        self.style(Color::Yellow)
    }
}

/// Draws the board. A small terminal shows less of it.
pub fn draw(frame: &mut Frame<'_>, board: &Board, theme: Theme) {
    let keys = u16::try_from(board.apis.len()).unwrap_or(u16::MAX).saturating_add(2);
    let [head, keys, rates, money, events] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(keys),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Min(0),
    ])
    .areas(frame.area());
    draw_head(frame, head, board, theme);
    draw_keys(frame, keys, board, theme);
    let [sales, decrypted] =
        Layout::horizontal([Constraint::Ratio(1, 2), Constraint::Ratio(1, 2)]).spacing(1).areas(rates);
    draw_meter(frame, sales, "Keys sold", &board.sales, theme.sale(), theme);
    draw_meter(frame, decrypted, "Events", &board.events, theme.event(), theme);
    draw_money(frame, money, &board.money, theme);
    draw_events(frame, events, board, theme);
}

fn panel(title: &str, theme: Theme) -> Block<'_> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.quiet())
        .title_style(Style::reset().add_modifier(Modifier::BOLD))
        .title(format!(" {title} "))
        .padding(Padding::horizontal(1))
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, board: &Board, theme: Theme) {
    let seconds = board.elapsed.as_secs();
    let clock = format!("{:02}:{:02}:{:02}  Ctrl-C ends ", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut head = vec![
        Span::styled(" xbr-seller demo", theme.key().add_modifier(Modifier::BOLD)),
        Span::styled("  a data market  ", theme.quiet()),
        Span::raw(format!("{} buyers, {} offers", board.buyers, board.offers)),
    ];
    if board.refused > 0 {
        head.push(Span::styled(format!(", {} refused", board.refused), theme.style(Color::Red)));
    }
    frame.render_widget(Line::from(head), area);
    // Of a line the style would be that of the whole row.
    frame.render_widget(Line::from(Span::styled(clock, theme.quiet())).alignment(Alignment::Right), area);
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, board: &Board, theme: Theme) {
    let lines: Vec<_> = board.apis.iter().map(|api| key_line(api, board.elapsed, theme)).collect();
    let mut block = panel("Keys on sale", theme);
    if let Some(address) = board.dashboard {
        let link = Span::styled(format!(" Dashboard: http://{address}/ "), theme.key());
        block = block.title(Line::from(link).alignment(Alignment::Right));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn key_line(api: &ApiBoard, elapsed: Duration, theme: Theme) -> Line<'static> {
    let key_id = api.key.map_or_else(String::new, |(key_id, _)| key_id.to_string());
    let mut line = vec![
        Span::raw(format!("{:<13}", shorten(&api.prefix, 12))),
        Span::styled(format!("{:>8} XBR  ", shown(api.price)), theme.money()),
        Span::styled(format!("{:<8}  ", shorten(&key_id, 8)), theme.key().add_modifier(Modifier::BOLD)),
    ];
    line.extend(match api.left(elapsed) {
        Some((left, interval)) => {
            let (full, rest) = bar(left, interval, 10);
            let tenths = left.as_millis() / 100;
            [
                Span::styled(full, theme.key()),
                Span::styled(rest, theme.quiet()),
                Span::raw(format!(" {:>3}.{} s", tenths / 10, tenths % 10)),
            ]
        }
        None => [Span::styled("used once", theme.quiet()), Span::raw(" ".repeat(9)), Span::raw("")],
    });
    line.push(Span::styled(format!("{:>5} keys", api.rotations), theme.quiet()));
    line.push(Span::styled(format!("{:>6} sold", api.sold), theme.sale()));
    Line::from(line)
}

/// A bar of so many cells: its full part, and the rest.
fn bar(part: Duration, whole: Duration, cells: usize) -> (String, String) {
    let eighths = part.as_millis() * (cells as u128) * 8 / whole.as_millis().max(1);
    let eighths = usize::try_from(eighths).unwrap_or(usize::MAX).min(cells * 8);
    let edge = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    let full = format!("{}{edge}", "█".repeat(eighths / 8));
    let rest = cells - eighths.div_ceil(8);
    (full, "·".repeat(rest))
}

fn draw_meter(frame: &mut Frame<'_>, area: Rect, title: &str, meter: &Meter, style: Style, theme: Theme) {
    let rate = format!(" {}/s, {} in all ", meter.rate(), meter.total());
    let block = panel(title, theme).title(Line::from(Span::styled(rate, style)).alignment(Alignment::Right));
    let width = usize::from(block.inner(area).width);
    let history = meter.history(width);
    // The newest second is at the right from the beginning.
    let mut bars = vec![0; width.saturating_sub(history.len())];
    bars.extend(history);
    frame.render_widget(Sparkline::default().block(block).style(style).data(bars), area);
}

fn draw_money(frame: &mut Frame<'_>, area: Rect, money: &Totals, theme: Theme) {
    let line = |who: &str, first: (&str, Amount), second: (&str, Amount)| {
        let amount = |(what, amount): (&str, Amount)| {
            [
                Span::styled(format!("{what:>12} "), theme.quiet()),
                Span::styled(format!("{:>18}", shown(amount)), theme.money()),
            ]
        };
        let mut spans = vec![Span::raw(format!("{who:<14}"))];
        spans.extend(amount(first));
        spans.extend(amount(second));
        Line::from(spans)
    };
    let mut lines = vec![
        line("buyers", ("spent", money.spent), ("remaining", money.remaining)),
        line("market maker", ("received", money.received), ("paid", money.paid)),
        line("seller", ("earned", money.earned), ("", Amount::ZERO)),
    ];
    if let Some(seller) = lines.last_mut() {
        seller.spans.truncate(3);
        let settled =
            money.spent == money.received && money.paid == money.earned && money.received == money.paid;
        let (sign, style) =
            if settled { ("● agreed", theme.sale()) } else { ("○ in flight", theme.quiet()) };
        seller.spans.push(Span::styled(format!("{sign:>31}"), style));
    }
    frame.render_widget(Paragraph::new(lines).block(panel("XBR, by everybody's own books", theme)), area);
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, board: &Board, theme: Theme) {
    let block = panel("Decrypted by the buyers", theme);
    let inner = block.inner(area);
    let width = usize::from(inner.width);
    let line = |event: &RecentEvent| {
        let key_id = event.key_id.to_string();
        let topic = format!("{:<14}", shorten(&event.topic, 14));
        let room = width.saturating_sub(30);
        Line::from(vec![
            Span::raw(topic),
            Span::styled(format!("{}  ", shorten(&key_id, 8)), theme.key()),
            Span::styled(format!("{:<room$}", shorten(&event.payload, room)), theme.event()),
            Span::styled(format!("{:>5}×", event.buyers), theme.quiet()),
        ])
    };
    let lines: Vec<_> = board.recent.iter().take(usize::from(inner.height)).map(line).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// An amount with no more decimals than there is room for; those that are cut off are cut off.
fn shown(amount: Amount) -> String {
    let text = amount.to_string();
    match text.split_once('.') {
        Some((whole, decimals)) => {
            format!("{whole}.{:0<DECIMALS$}", decimals.get(..DECIMALS).unwrap_or(decimals))
        }
        None => format!("{text}.{:0<DECIMALS$}", ""),
    }
}

fn shorten(text: &str, length: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(length).collect()
}
