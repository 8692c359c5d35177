//! Charts as SVG, which stands in a page by itself.

use super::facts::Point;

/// Width and height of a chart, in its own units.
const SIZE: (f64, f64) = (720.0, 180.0);
/// Room at the left for the numbers, and below for the times.
const MARGIN: (f64, f64) = (40.0, 22.0);

/// A line over time.
pub(super) struct Line<'a> {
    /// The class that gives its colour.
    pub(super) class: &'a str,
    /// Microseconds since 1970, and a share from 0 to 1.
    pub(super) points: &'a [(i64, f64)],
}

/// Draws what was measured over time, with the band that would have been normal, and anomalies as dots.
pub(super) fn band(points: &[Point], label: &str) -> String {
    let (width, height) = SIZE;
    let (_, bottom) = MARGIN;
    let left = 64.0;
    let values = points.iter().flat_map(|point| {
        let (lower, upper) = point.band.unwrap_or((point.value, point.value));
        [point.value, lower, upper]
    });
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    let times = (
        points.first().map_or(0, |p| p.at),
        points.last().map_or(0, |p| p.at),
    );
    let span = times.1.saturating_sub(times.0).max(1) as f64;
    let x = |at: i64| left + (width - left - 8.0) * ((at - times.0) as f64 / span);
    let y = |value: f64| {
        let share = (value - least) / (most - least).max(f64::MIN_POSITIVE);
        8.0 + (height - bottom - 8.0) * (1.0 - share)
    };
    let mut svg =
        format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\">");
    for value in [least, f64::midpoint(least, most), most] {
        let at = y(value);
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{left}\" x2=\"{width}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" class=\"axis end\">{}</text>",
            left - 6.0,
            at + 4.0,
            short(value)
        ));
    }
    let bands = points
        .iter()
        .filter_map(|point| Some((point.at, point.band?)));
    let upper = bands
        .clone()
        .map(|(at, (_, upper))| format!("{:.1},{:.1}", x(at), y(upper)));
    let lower = bands
        .rev()
        .map(|(at, (lower, _))| format!("{:.1},{:.1}", x(at), y(lower)));
    let outline: Vec<String> = upper.chain(lower).collect();
    let line = points
        .iter()
        .map(|point| format!("{:.1},{:.1}", x(point.at), y(point.value)));
    let line: Vec<String> = line.collect();
    svg.push_str(&format!(
        "<polygon class=\"band\" points=\"{}\"/><polyline class=\"line\" points=\"{}\"/>",
        outline.join(" "),
        line.join(" ")
    ));
    for point in points.iter().filter(|point| point.is_anomaly) {
        svg.push_str(&format!(
            "<circle class=\"anomaly\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"><title>{}: {}</title></circle>",
            x(point.at),
            y(point.value),
            super::text::time(point.at),
            short(point.value)
        ));
    }
    for (at, class) in [(times.0, "start"), (times.1, "end")] {
        svg.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"axis {class}\">{}</text>",
            x(at),
            height - 4.0,
            super::text::time(at)
        ));
    }
    svg.push_str("</svg>");
    svg
}

/// A number with few digits.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{:.1} M", value / 1e6),
        large if large >= 1e4 => format!("{:.0} k", value / 1e3),
        large if large >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

/// Draws shares over time. A chart of one point has a dot and no line.
pub(super) fn shares(lines: &[Line<'_>], label: &str) -> String {
    let (width, height) = SIZE;
    let (left, bottom) = MARGIN;
    let times = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.0));
    let (first, last) = times.fold((i64::MAX, i64::MIN), |(first, last), at| {
        (first.min(at), last.max(at))
    });
    let span = (last.saturating_sub(first)).max(1) as f64;
    let x = |at: i64| left + (width - left - 8.0) * ((at - first) as f64 / span);
    let y = |share: f64| 8.0 + (height - bottom - 8.0) * (1.0 - share.clamp(0.0, 1.0));
    let mut svg =
        format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\">");
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = y(share);
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{left}\" x2=\"{width}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" class=\"axis end\">{:.0} %</text>",
            left - 6.0,
            at + 4.0,
            share * 100.0
        ));
    }
    for (at, class) in [(first, "start"), (last, "end")] {
        if first <= last && (class == "start" || last > first) {
            svg.push_str(&format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" class=\"axis {class}\">{}</text>",
                x(at),
                height - 4.0,
                super::text::time(at)
            ));
        }
    }
    for line in lines {
        let places: Vec<String> = line
            .points
            .iter()
            .map(|(at, share)| format!("{:.1},{:.1}", x(*at), y(*share)))
            .collect();
        svg.push_str(&format!(
            "<polyline class=\"line {}\" points=\"{}\"/>",
            line.class,
            places.join(" ")
        ));
        if let Some((at, share)) = line.points.last() {
            svg.push_str(&format!(
                "<circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>",
                line.class,
                x(*at),
                y(*share)
            ));
        }
    }
    svg.push_str("</svg>");
    svg
}
