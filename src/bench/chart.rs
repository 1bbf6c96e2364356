//! The latencies as a picture: a curve for each measurement, over the part of the sales that took no longer.
//! Both axes are logarithmic, so that the few slow ones have as much room as the many fast ones. It is SVG
//! with styles for a light and a dark background.

#![allow(clippy::float_arithmetic, reason = "places in a picture, and never amounts")]

use std::fmt::{self, Write};

use super::report::{Level, Report, milliseconds};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 850.0;
const TOP: f64 = 104.0;
/// Between two lines of the legend.
const LINE: f64 = 20.0;
/// How high the part with the curves is.
const HEIGHT: f64 = 380.0;
/// Below the curves, for the names of the axis.
const BELOW: f64 = 64.0;
/// How many points a curve has for each halving of what is left.
const POINTS: u32 = 8;
/// How many colours there are.
const COLOURS: usize = 6;

/// On light, then on dark. Without variables, which many programs that draw SVG do not know.
const STYLE: &str = "\
svg{font:13px system-ui,-apple-system,'Segoe UI',sans-serif}.title{font-size:18px;font-weight:600}\
.middle{text-anchor:middle}.end{text-anchor:end}.curve{fill:none;stroke-width:2.25;stroke-linejoin:round}\
.paper{fill:#fff}text{fill:#1f2328}.grid{stroke:#d8dee4}.c0{stroke:#0969da}.c1{stroke:#bc4c00}\
.c2{stroke:#1a7f37}.c3{stroke:#8250df}.c4{stroke:#bf3989}.c5{stroke:#1b7c83}\
@media(prefers-color-scheme:dark){.paper{fill:#0d1117}text{fill:#e6edf3}.grid{stroke:#30363d}\
.c0{stroke:#58a6ff}.c1{stroke:#f0883e}.c2{stroke:#3fb950}.c3{stroke:#bc8cff}.c4{stroke:#f778ba}\
.c5{stroke:#39c5cf}}";

/// Where values are in the picture.
struct Frame {
    /// Where the curves begin, below the legend.
    top: f64,
    /// How many times as many sales took no longer as took longer, at the right, as a power of ten.
    decades: f64,
    /// The least and the greatest latency, in ns, as powers of ten.
    latency: (f64, f64),
}

/// Draws the report; `None` when nothing was sold.
pub fn draw(report: &Report) -> Option<String> {
    let levels: Vec<&Level> = report.levels.iter().filter(|level| level.sold() > 0).collect();
    let frame = Frame::around(&levels)?;
    let mut svg = String::new();
    // A text takes whatever is written to it.
    write_all(&mut svg, report, &levels, &frame).ok()?;
    Some(svg)
}

impl Frame {
    fn around(levels: &[&Level]) -> Option<Self> {
        let most = levels.iter().map(|level| level.sold()).max()?;
        let least = levels.iter().map(|level| level.latencies.min()).min()?.max(1);
        let greatest = levels.iter().map(|level| level.latencies.max()).max()?.max(least + 1);
        let low = steps().take_while(|step| *step <= least).last().unwrap_or(1);
        let high = steps().find(|step| *step >= greatest)?;
        Some(Self {
            top: TOP + LINE * levels.len().div_ceil(2) as f64,
            decades: (most.max(10) as f64).log10(),
            latency: ((low as f64).log10(), (high as f64).log10()),
        })
    }

    fn bottom(&self) -> f64 {
        self.top + HEIGHT
    }

    /// Of the latency below which a part of the sales are, from 0 to 1.
    fn x(&self, quantile: f64) -> f64 {
        let decades = -(1.0 - quantile).max(f64::MIN_POSITIVE).log10();
        LEFT + (decades / self.decades).min(1.0) * (RIGHT - LEFT)
    }

    /// Where the last sale of a measurement is: all took no longer, which has no place on this axis.
    fn end(&self, level: &Level) -> f64 {
        self.x(1.0 - 1.0 / level.sold() as f64)
    }

    fn y(&self, ns: u64) -> f64 {
        let (low, high) = self.latency;
        let part = ((ns.max(1) as f64).log10() - low) / (high - low);
        self.bottom() - part.clamp(0.0, 1.0) * HEIGHT
    }
}

/// 1, 2, 5, 10, 20, 50 and so on, in ns.
fn steps() -> impl Iterator<Item = u64> {
    (0..19).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)))
}

fn write_all(svg: &mut String, report: &Report, levels: &[&Level], frame: &Frame) -> fmt::Result {
    let (height, name) = (frame.bottom() + BELOW, "Latency of sales by percentile");
    write!(svg, r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}""#)?;
    writeln!(svg, r#" width="{WIDTH}" height="{height}" role="img">"#)?;
    writeln!(svg, "<title>{name}</title>\n<style>{STYLE}</style>")?;
    writeln!(svg, r#"<rect class="paper" width="{WIDTH}" height="{height}" rx="8"/>"#)?;
    write_text(svg, "title", (LEFT, 38.0), name)?;
    write_text(svg, "", (LEFT, 62.0), &subtitle(report))?;
    write_grid(svg, frame)?;
    for (index, level) in levels.iter().enumerate() {
        write_legend(svg, index, level)?;
        write_curve(svg, frame, index, level)?;
    }
    write_greatest(svg, frame, levels)?;
    writeln!(svg, "</svg>")
}

fn subtitle(report: &Report) -> String {
    match report.rate {
        Some(rate) => format!("{}; {rate} sales begun a second (open loop)", report.router),
        None => format!("{}; a sale begins when another ends (closed loop)", report.router),
    }
}

fn write_grid(svg: &mut String, frame: &Frame) -> fmt::Result {
    let (low, high) = frame.latency;
    let crowded = high - low > 3.0;
    for ns in steps().filter(|ns| (low..=high).contains(&(*ns as f64).log10())) {
        let y = frame.y(ns);
        writeln!(svg, r#"<path class="grid" d="M{LEFT},{y:.1}H{RIGHT}"/>"#)?;
        if !crowded || ns.to_string().starts_with('1') {
            write_text(svg, "end", (LEFT - 10.0, y + 4.5), &unit(ns))?;
        }
    }
    let names = ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"];
    let quantiles = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];
    let (top, bottom) = (frame.top, frame.bottom());
    for (name, quantile) in names.into_iter().zip(quantiles) {
        let x = frame.x(quantile);
        if x >= RIGHT {
            break;
        }
        writeln!(svg, r#"<path class="grid" d="M{x:.1},{top}V{bottom}"/>"#)?;
        write_text(svg, "middle", (x, bottom + 20.0), name)?;
    }
    write_text(svg, "middle", ((LEFT + RIGHT) / 2.0, bottom + 46.0), "sales that took no longer")
}

/// Two entries a line: the colour, how many were in flight, and how many were sold a second.
fn write_legend(svg: &mut String, index: usize, level: &Level) -> fmt::Result {
    let x = LEFT + (index % 2) as f64 * 380.0;
    let y = TOP - 14.0 + LINE * (index / 2) as f64;
    writeln!(svg, r#"<path class="curve c{}" d="M{x},{}h26"/>"#, index % COLOURS, y - 4.5)?;
    let text = format!("{} in flight: {} sales/s", level.in_flight, level.throughput());
    write_text(svg, "", (x + 34.0, y), &text)
}

fn write_curve(svg: &mut String, frame: &Frame, index: usize, level: &Level) -> fmt::Result {
    write!(svg, r#"<path class="curve c{}" d=""#, index % COLOURS)?;
    let mut command = 'M';
    for point in level.latencies.iter_quantiles(POINTS) {
        let x = frame.x(point.quantile_iterated_to()).min(frame.end(level));
        write!(svg, "{command}{x:.1},{:.1}", frame.y(point.value_iterated_to()))?;
        command = 'L';
    }
    writeln!(svg, r#""/>"#)
}

/// The greatest latency at the end of each curve, apart from each other.
fn write_greatest(svg: &mut String, frame: &Frame, levels: &[&Level]) -> fmt::Result {
    let end = |level: &&Level| {
        let ns = level.latencies.max();
        (frame.end(level), frame.y(ns), ns)
    };
    let mut ends: Vec<_> = levels.iter().map(end).collect();
    ends.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut above = f64::MIN;
    for (x, y, ns) in ends {
        above = (y + 4.5).max(above + 16.0);
        write_text(svg, "", (x + 8.0, above), &milliseconds(ns))?;
    }
    Ok(())
}

fn write_text(svg: &mut String, class: &str, (x, y): (f64, f64), text: &str) -> fmt::Result {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    writeln!(svg, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#)
}

/// A round latency.
fn unit(ns: u64) -> String {
    match ns {
        ns @ ..1_000 => format!("{ns} ns"),
        ns @ ..1_000_000 => format!("{} µs", ns / 1_000),
        ns @ ..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        ns => format!("{} s", ns / 1_000_000_000),
    }
}
