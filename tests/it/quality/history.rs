//! The tables of the schema `weir` over several runs, beside scores and issues worked out by hand.

use crate::program::Place;

const SCRIPT: &str = "
    SET pipeline.name = 'shop';
    CREATE SOURCE orders (
        id BIGINT, amount DOUBLE, email VARCHAR,
        CONSTRAINT positive EXPECT (amount > 0) SEVERITY CRITICAL,
        CONSTRAINT small    EXPECT (amount < 100) WEIGHT 2,
        CONSTRAINT mail     EXPECT (email IS NOT NULL) DIMENSION completeness SEVERITY INFO,
        CONSTRAINT many     EXPECT (count(*) > 3) DIMENSION volume,
        CONSTRAINT never    EXPECT (amount > 0) WHEN (id > 1000) DIMENSION consistency
    ) WITH (connector = 'file', path = 'orders.csv', format = 'csv');
    CREATE SINK out WITH (connector = 'blackhole') AS SELECT * FROM orders;";

/// The lines of a query, as CSV without its head.
fn ask(place: &Place, query: &str) -> Vec<String> {
    let ended = place.weir(&["sql", "--format", "csv", "-c", query]).ok();
    ended.out.lines().skip(1).map(str::to_owned).collect()
}

fn run(place: &Place, rows: &str) {
    place.put("orders.csv", format!("id,amount,email\n{rows}"));
    place.run(SCRIPT, &[]).ok();
}

#[test]
fn scores_are_weighted_and_nothing_hides_a_zero() {
    let place = Place::new();
    run(&place, "1,5,a\n2,-1,b\n3,500,\n4,7,d\n");
    let scores = ask(
        &place,
        "SELECT level, name, round(score, 6), weight, evaluated, violated FROM weir.quality_scores
         ORDER BY level, name",
    );
    // Critical weighs 1, a warning 0.5, information 0.25, each times its weight.
    let validity = (1.0 * 0.75 + 1.0 * 0.75) / 2.0;
    let table: f64 = (2.0 * f64::ln(validity) + 0.25 * f64::ln(0.75) + 0.5 * f64::ln(1.0)) / 2.75;
    let table = format!("{:.6}", table.exp());
    assert_eq!(
        scores,
        [
            "column,amount,0.75,2.5,8,2".to_owned(),
            "column,email,0.75,0.25,4,1".to_owned(),
            "column,id,,0.5,0,0".to_owned(),
            "dimension,completeness,0.75,0.25,4,1".to_owned(),
            "dimension,consistency,,,0,0".to_owned(),
            "dimension,validity,0.75,2.0,8,2".to_owned(),
            "dimension,volume,1.0,0.5,1,0".to_owned(),
            format!("pipeline,shop,{table},2.75,13,3"),
            "rule,mail,0.75,0.25,4,1".to_owned(),
            "rule,many,1.0,0.5,1,0".to_owned(),
            "rule,never,,0.5,0,0".to_owned(),
            "rule,positive,0.75,1.0,4,1".to_owned(),
            "rule,small,0.75,1.0,4,1".to_owned(),
            format!("table,orders,{table},2.75,13,3"),
        ]
    );
    run(&place, "1,5,a\n2,3,b\n");
    let scores =
        "SELECT level, name, score FROM weir.quality_scores WHERE level IN ('table', 'pipeline')
                  ORDER BY recorded_at DESC, level LIMIT 2";
    assert_eq!(
        ask(&place, scores),
        ["pipeline,shop,0.0", "table,orders,0.0"]
    );
    // The bounds are those of scipy's binomtest(3, 4).proportion_ci(method='wilson'), and of 2 of 2.
    let trend = "SELECT round(score, 4), round(trend, 4), round(low, 3), round(high, 3)
                 FROM weir.quality_scores WHERE level = 'rule' AND name = 'positive' ORDER BY recorded_at";
    assert_eq!(
        ask(&place, trend),
        ["0.75,0.75,0.301,0.954", "1.0,0.825,0.342,1.0"]
    );
    let none = "SELECT count(low), count(trend) FROM weir.quality_scores WHERE name = 'never'";
    assert_eq!(ask(&place, none), ["0,0"]);
}

#[test]
fn an_issue_opens_fails_and_is_resolved() {
    let place = Place::new();
    assert!(ask(&place, "SELECT * FROM weir.quality_issues").is_empty());
    run(&place, "1,5,a\n2,-1,b\n3,5,c\n4,7,d\n");
    let issues = "SELECT rule, status, results, violated, resolved_at IS NULL, samples
                  FROM weir.quality_issues ORDER BY opened_at, rule";
    let sample = r#""[{""amount"":-1.0,""email"":""b"",""id"":2}]""#;
    assert_eq!(
        ask(&place, issues),
        [format!("positive,open,1,1,true,{sample}")]
    );
    run(&place, "1,5,a\n2,-1,b\n3,-1,\n4,7,d\n");
    let sample = r#""[{""amount"":-1.0,""email"":""b"",""id"":2},{""amount"":-1.0,""email"":null,""id"":3}]""#;
    let lost = r#""[{""amount"":-1.0,""email"":null,""id"":3}]""#;
    assert_eq!(
        ask(&place, issues),
        [
            format!("positive,failing,2,3,true,{sample}"),
            format!("mail,open,1,1,true,{lost}"),
        ]
    );
    run(&place, "1,5,a\n2,1,b\n3,1,c\n4,7,d\n");
    run(&place, "1,5,a\n2,1,b\n3,1,c\n4,-7,d\n");
    let statuses = "SELECT rule, status FROM weir.quality_issues ORDER BY opened_at, rule";
    assert_eq!(
        ask(&place, statuses),
        ["positive,resolved", "mail,resolved", "positive,open"]
    );
    let ids = "SELECT count(DISTINCT id), count(*) FROM weir.quality_issues";
    assert_eq!(ask(&place, ids), ["3,3"]);
}

#[test]
fn what_ends_a_job_is_found_afterwards() {
    let place = Place::new();
    let script = |mode: &str, clause: &str| {
        format!(
            "SET pipeline.name = 'shop'; SET pipeline.mode = '{mode}';
             CREATE SOURCE orders (id BIGINT, amount DOUBLE, CONSTRAINT positive EXPECT (amount > 0) {clause})
             WITH (connector = 'file', path = 'orders.csv', format = 'csv');
             CREATE SINK out WITH (connector = 'blackhole') AS SELECT * FROM orders;"
        )
    };
    let good = "id,amount\n1,5\n2,7\n";
    let ends = [
        ("batch", "ON VIOLATION FAIL UPDATE", "orders,positive,3,2,1"),
        (
            "streaming",
            "ON VIOLATION FAIL UPDATE",
            "orders,positive,3,2,1",
        ),
        (
            "batch",
            "ON OVERFLOW 1 FAIL UPDATE",
            "orders,positive,3,2,2",
        ),
        (
            "streaming",
            "ON OVERFLOW 0.5 FAIL UPDATE",
            "orders,positive,3,2,2",
        ),
    ];
    for (number, (mode, clause, found)) in ends.into_iter().enumerate() {
        place.put("orders.csv", "id,amount\n1,5\n2,-7\n3,-1\n");
        place
            .run(&script(mode, clause), &[])
            .fails(1, "E0304", &["positive"]);
        let issues = ask(
            &place,
            "SELECT table_name, rule, evaluated, violated, shown FROM (
                SELECT i.table_name, i.rule, r.evaluated, r.violated, i.opened_at,
                    (length(i.samples) - length(replace(i.samples, 'amount', ''))) / 6 AS shown
                FROM weir.quality_issues i JOIN weir.quality_results r
                    ON i.table_name = r.table_name AND i.rule = r.rule AND NOT r.passed AND i.opened_at = r.recorded_at
                WHERE i.status = 'open')",
        );
        assert_eq!(issues, [found], "{mode} {clause}");
        // The run that goes well resolves it.
        place.put("orders.csv", good);
        place.run(&script(mode, clause), &[]).ok();
        let statuses = "SELECT status, count(*) FROM weir.quality_issues GROUP BY status";
        assert_eq!(ask(&place, statuses), [format!("resolved,{}", number + 1)]);
    }
}

#[test]
fn a_script_reads_what_its_own_runs_have_found() {
    let place = Place::new();
    run(&place, "1,-5,a\n");
    let script = SCRIPT.replace(
        "CREATE SINK",
        "SELECT rule, violated FROM weir.quality_results WHERE NOT passed ORDER BY rule; CREATE SINK",
    );
    let said = place.run(&script, &[]).ok().out;
    let table: Vec<&str> = said.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(
        table,
        [
            "| rule     | violated |",
            "| many     | 1        |",
            "| positive | 1        |"
        ]
    );
    place
        .weir(&["sql", "-c", "SELECT * FROM weir.quality_result"])
        .fails(2, "E0103", &["weir.quality_results"]);
}
