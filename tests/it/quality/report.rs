//! `weir quality report`: its lines, and its page in a browser.

use std::path::Path;
use std::process::Command;

use crate::program::Place;

const SCRIPT: &str = "
    CREATE SOURCE orders (
        id BIGINT, amount DOUBLE, note VARCHAR,
        CONSTRAINT positive EXPECT (amount > 0) SEVERITY CRITICAL,
        CONSTRAINT known    EXPECT (id IS NOT NULL) DIMENSION completeness,
        CONSTRAINT few      EXPECT (count(*) < 1000) PER (note) DIMENSION volume
    ) WITH (connector = 'file', path = 'orders.csv', format = 'csv');
    CREATE SINK out WITH (connector = 'blackhole') AS SELECT * FROM orders;";

fn place() -> Place {
    let place = Place::new();
    for broken in [0, 1, 2] {
        let rows = (0..10).map(|row| {
            let amount = if row < broken { -row - 1 } else { row + 1 };
            format!("{row},{amount},\"<b>&'{row}</b>\"\n")
        });
        place.put(
            "orders.csv",
            format!("id,amount,note\n{}", rows.collect::<String>()),
        );
        place.run(SCRIPT, &[]).ok();
    }
    place
}

/// What a browser makes of a page, and how it looks.
fn browse(page: &Path, picture: &Path) -> String {
    let profile = picture.with_extension("profile");
    let chromium = |more: &[&str]| {
        let output = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--window-size=1180,1600",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(more)
            .arg(format!("file://{}", page.display()))
            .output();
        let output =
            output.expect("Chromium is missing: bash tests/run installs it (apt install chromium)");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    chromium(&[&format!("--screenshot={}", picture.display())]);
    chromium(&["--dump-dom"])
}

#[test]
fn the_report_tells_failing_rules_first() {
    let place = place();
    let said = place
        .weir(&["quality", "report", "script.sql", "--html", "r.html"])
        .ok()
        .out;
    let rules: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("orders."))
        .collect();
    assert!(
        rules[0].contains("FAIL  orders.positive  critical   80.00 %  2 of 10"),
        "{said}"
    );
    assert!(
        rules[1].contains("pass") && rules[2].contains("pass"),
        "{said}"
    );
    assert!(rules[3].contains("failing  orders.positive"), "{said}");
    assert!(rules[3].contains(r#""amount":-2.0"#), "{said}");
    let by_table = place.weir(&["quality", "report", "orders"]).ok().out;
    assert!(by_table.contains("FAIL  orders.positive"), "{by_table}");
    place
        .weir(&["quality", "report", "nowhere"])
        .fails(2, "E0103", &["nowhere", "--state"]);
    place
        .weir(&[
            "quality",
            "report",
            "orders",
            "--html",
            "no/such/folder.html",
        ])
        .fails(2, "E0206", &["folder.html"]);
}

#[test]
fn the_page_opens_in_a_browser() {
    let place = place();
    place
        .weir(&["quality", "report", "script.sql", "--html", "r.html"])
        .ok();
    let page = place.path().join("r.html");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(
        !text.contains("<script") && !text.contains("src="),
        "it needs something else"
    );
    let picture = place.path().join("r.png");
    let dom = browse(&page, &picture);
    let rules = dom.split_once("id=\"rules\"").unwrap().1;
    let (first, later) = (
        rules.find("<b>positive</b>").unwrap(),
        rules.find("<b>known</b>").unwrap(),
    );
    assert!(first < later, "failing rules come first");
    assert!(dom.contains("<polyline") && dom.contains("score of orders over time"));
    // Values of the data are text, not markup.
    assert!(
        dom.contains("&lt;b&gt;") && !dom.contains("<b>&amp;"),
        "{dom}"
    );
    let bytes = std::fs::metadata(&picture).unwrap().len();
    assert!(bytes > 20_000, "a picture of {bytes} bytes shows nothing");
}

#[test]
fn anomalies_are_marked_beside_what_was_expected() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/nyc_taxi.csv");
    let place = Place::new();
    let script = format!(
        "CREATE SOURCE taxi (
             \"timestamp\" TIMESTAMP NOT NULL, value BIGINT NOT NULL,
             WATERMARK FOR \"timestamp\" AS \"timestamp\",
             CONSTRAINT usual EXPECT NORMAL (sum(value), METHOD 'seasonal', SEASONALITY weekly, SENSITIVITY 0.999,
                 WARMUP 4 WEEKS, DEBOUNCE 2 DAYS) EVERY INTERVAL '6' HOUR
         ) WITH (connector = 'file', path = '{}', format = 'csv');
         CREATE SINK out WITH (connector = 'blackhole') AS SELECT * FROM taxi;",
        data.display()
    );
    place.run(&script, &[]).ok();
    place
        .weir(&["quality", "report", "taxi", "--html", "r.html"])
        .ok();
    let dom = browse(&place.path().join("r.html"), &place.path().join("r.png"));
    assert_eq!(dom.matches("<circle class=\"anomaly\"").count(), 4);
    assert!(
        dom.contains("<title>2014-12-25 06:00:00: 59 k</title>"),
        "Christmas is not told"
    );
    assert!(dom.contains("<polygon class=\"band\""));
}
