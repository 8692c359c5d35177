//! Profiles that are kept, and how a table has drifted since the last.

use crate::program::Place;

const SCRIPT: &str = "
    SET pipeline.name = 'shop';
    CREATE SOURCE orders (id BIGINT, amount DOUBLE, country VARCHAR)
        WITH (connector = 'file', path = 'orders.csv', format = 'csv');
    PROFILE TABLE orders;
    PROFILE TABLE orders COLUMNS (amount) INTO baseline;";

fn run(place: &Place, rows: impl Iterator<Item = (usize, f64, &'static str)>) {
    let rows = rows.map(|(id, amount, country)| format!("{id},{amount},{country}\n"));
    place.put(
        "orders.csv",
        format!("id,amount,country\n{}", rows.collect::<String>()),
    );
    place.run(SCRIPT, &[]).ok();
}

#[test]
fn drift_is_told_since_the_last_profile() {
    let place = Place::new();
    let countries = ["DE", "FR", "IT"];
    run(
        &place,
        (0..900).map(|n| (n, (n % 100) as f64, countries[n % 3])),
    );
    run(
        &place,
        (0..900).map(|n| (n, (n % 100) as f64, countries[n % 3])),
    );
    run(
        &place,
        (0..900).map(|n| (n, (n % 100 + 50) as f64, ["DE", "FR", "CH"][n % 3])),
    );
    let query =
        "SELECT \"column\", psi > 0.25, ks > 0.4, new_values, lost_values FROM weir.profiles
                 WHERE profile = '' AND \"column\" <> 'id' ORDER BY recorded_at, \"column\"";
    let ended = place.weir(&["sql", "--format", "csv", "-c", query]).ok();
    let lines: Vec<&str> = ended.out.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "amount,,,,",
            "country,,,,",
            "amount,false,false,[],[]",
            "country,false,,[],[]",
            "amount,true,true,[],[]",
            "country,true,,\"[\"\"CH\"\"]\",\"[\"\"IT\"\"]\"",
        ]
    );
    // A profile with a name is compared with the last of that name.
    let named = "SELECT count(*), count(psi) FROM weir.profiles WHERE profile = 'baseline'";
    let ended = place.weir(&["sql", "--format", "csv", "-c", named]).ok();
    assert_eq!(ended.out.lines().last(), Some("3,2"));
}
