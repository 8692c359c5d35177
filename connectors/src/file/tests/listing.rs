//! What a path selects, and what is said when it selects nothing.

use super::*;

fn case(path: &str) -> Case {
    let case = Case::new(path).columns(&[("id", DataType::Int64)]);
    let names = [
        "a/1.csv",
        "a/2.csv",
        "a/_hidden.csv",
        "a/.x.csv",
        "a/3.csv.tmp",
        "a/b/4.csv",
    ];
    let more = [
        "a/b/_temporary/9.csv",
        "a/README.md",
        "c/5.csv",
        "a/b/6.json",
    ];
    names.iter().chain(&more).fold(case, |case, name| {
        let digit: String = name.chars().filter(char::is_ascii_digit).collect();
        case.file(name, format!("id\n{digit}\n"))
    })
}

async fn ids(path: &str) -> Vec<i64> {
    let case = case(path).option("format", "csv");
    case.read().await.unwrap().ints(0)
}

#[tokio::test]
async fn files_folders_and_globs() {
    assert_eq!(ids("a/1.csv").await, [1]);
    assert_eq!(ids("a").await, [1, 2, 4]);
    assert_eq!(ids("a/").await, [1, 2, 4]);
    assert_eq!(ids("").await, [1, 2, 4, 5]);
    assert_eq!(ids("a/*.csv").await, [1, 2]);
    assert_eq!(ids("*/*.csv").await, [1, 2, 5]);
    assert_eq!(ids("**/*.csv").await, [1, 2, 4, 5]);
    assert_eq!(ids("a/[2-9].csv").await, [2]);
    assert_eq!(ids("a/../c/5.csv").await, [5]);
}

#[tokio::test]
async fn a_name_with_glob_signs_is_a_name_when_it_exists() {
    let case = Case::new("a[1].csv").file("a[1].csv", "id\n1\n");
    assert_eq!(case.read().await.unwrap().ints(0), [1]);
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_nearest() {
    let error = case("a/11.csv").error().await;
    assert_eq!(error.code().0, "E0204");
    assert!(
        error.message().contains("a/11.csv does not exist"),
        "{error:?}"
    );
    assert_eq!(error.hint_text(), Some("did you mean \"1.csv\"?"));
    assert_eq!(case("nowhere/x.csv").error().await.code().0, "E0204");
    assert_eq!(case("a/*.parquet").error().await.code().0, "E0204");
    let error = case("a/b").option("format", "avro").error().await;
    assert!(error.message().contains("has no data files"), "{error:?}");
}

#[tokio::test]
async fn options_are_checked() {
    let error = case("a/1.csv").option("delimeter", ";").error().await;
    assert_eq!(
        (error.code().0, error.hint_text()),
        ("E0202", Some("did you mean \"delimiter\"?"))
    );
    let error = case("a/1.csv").option("delimiter", "ab").error().await;
    assert_eq!(error.code().0, "E0203");
    let error = Case::new("x.data").file("x.data", "1").error().await;
    assert!(
        error.message().contains("does not tell the format"),
        "{error:?}"
    );
    let mut wrong = case("a/1.csv");
    wrong = wrong.option("path", "s3://bucket/x.csv");
    assert!(
        wrong
            .error()
            .await
            .hint_text()
            .unwrap()
            .contains("connector = 's3'")
    );
}

#[tokio::test]
async fn a_file_url_is_a_path() {
    let case = case("a");
    let url = format!("file://{}", case.path("a/1.csv").display());
    assert_eq!(case.option("path", &url).read().await.unwrap().ints(0), [1]);
}
