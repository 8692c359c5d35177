//! Charts as SVG, which stands in a page by itself.

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
