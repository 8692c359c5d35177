//! Each function over texts that it takes and texts that it does not, in all of their types; null for
//! null.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::all;

/// What a function says of texts of a type.
fn ask(name: &str, texts: &[Option<&str>], data_type: &DataType) -> Vec<Option<bool>> {
    let function = all()
        .into_iter()
        .find(|function| function.name() == name)
        .unwrap();
    let array: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    let answer = function.invoke_with_args(ScalarFunctionArgs {
        args: vec![ColumnarValue::Array(cast(&array, data_type).unwrap())],
        arg_fields: vec![Arc::new(Field::new("text", data_type.clone(), true))],
        number_rows: texts.len(),
        return_field: Arc::new(Field::new("answer", DataType::Boolean, true)),
        config_options: Arc::new(ConfigOptions::default()),
    });
    let answer = answer.unwrap().into_array(texts.len()).unwrap();
    answer.as_boolean().iter().collect()
}

fn check(name: &str, good: &[&str], bad: &[&str]) {
    for data_type in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View] {
        for (texts, expected) in [(good, true), (bad, false)] {
            for text in texts {
                let found = ask(name, &[None, Some(text)], &data_type);
                assert_eq!(
                    found,
                    [None, Some(expected)],
                    "{name}({text:?}) of {data_type}"
                );
            }
        }
        assert!(ask(name, &[], &data_type).is_empty());
    }
}

#[test]
fn texts() {
    check("not_blank", &["a", " a "], &["", " ", "\t\n"]);
    check(
        "is_email",
        &["a@b.co", "first.last+tag@sub.example.org", "o'neil@x-y.de"],
        &[
            "",
            "a",
            "a@b",
            "@b.co",
            "a@",
            "a b@c.de",
            ".a@b.co",
            "a..b@c.de",
            "a@-b.co",
            "a@b..co",
            "a@1.2.3.4",
        ],
    );
    check(
        "is_uuid",
        &["123e4567-e89b-12d3-a456-426614174000"],
        &[
            "",
            "123e4567e89b12d3a456426614174000",
            "g23e4567-e89b-12d3-a456-426614174000",
        ],
    );
    check(
        "is_phone_e164",
        &["+14155552671", "+442071838750"],
        &[
            "",
            "14155552671",
            "+0415555267",
            "+1 415",
            "+1234567890123456",
        ],
    );
    check(
        "is_base64",
        &["YQ==", "YWI=", "YWJj"],
        &["", "YQ", "Y===", "YQ=!", "YW=j"],
    );
    check(
        "is_semver",
        &[
            "0.0.1",
            "1.2.3-alpha.1+build.5",
            "1.0.0-0A.is.legal",
            "1.0.0+001",
        ],
        &[
            "", "1.2", "1.2.3.4", "01.2.3", "1.2.3-01", "1.2.3-", "v1.2.3", "1.2.3+",
        ],
    );
}

#[test]
fn networks() {
    check(
        "is_ipv4",
        &["127.0.0.1", "255.255.255.255"],
        &["", "1.2.3", "256.1.1.1", "1.2.3.4.5", "::1", "01.2.3.4"],
    );
    check(
        "is_ipv6",
        &["::1", "2001:db8::8a2e:370:7334"],
        &["", "1.2.3.4", "2001:db8::1::2", ":::"],
    );
    check(
        "is_cidr",
        &["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32"],
        &[
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "::/129",
            "10.0.0.0/+8",
        ],
    );
    check(
        "is_mac",
        &["00:1A:2b:3c:4D:5e", "00-1a-2b-3c-4d-5e"],
        &["", "001a2b3c4d5e", "00:1a:2b:3c:4d", "00:1a:2b:3c:4d:zz"],
    );
    check(
        "is_url",
        &[
            "http://example.com",
            "https://u:p@x.org:8443/a/b?c=d#e",
            "ftp://10.0.0.1/f",
            "http://[::1]:80/",
            "http://localhost",
        ],
        &[
            "",
            "example.com",
            "http://",
            "http://a b.com",
            "://x.com",
            "http://x.com:99999",
            "http://exa_mple!.com",
        ],
    );
}

#[test]
fn checked_numbers() {
    check(
        "luhn",
        &["79927398713", "0000 0000", "4539-1488-0343-6467"],
        &["", "0", "79927398710", "7992739871x"],
    );
    check(
        "is_credit_card",
        &["4111 1111 1111 1111", "378282246310005", "5555555555554444"],
        &["", "4111111111111112", "0000000000000000", "42"],
    );
    check(
        "is_iban",
        &[
            "DE89 3704 0044 0532 0130 00",
            "GB82WEST12345698765432",
            "NO9386011117947",
        ],
        &[
            "",
            "DE89370400440532013001",
            "GB82WEST1234569876543",
            "XX82WEST12345698765432",
            "gb82west12345698765432",
        ],
    );
}

#[test]
fn codes() {
    check(
        "is_country_code",
        &["DE", "USA"],
        &["", "de", "XX", "UK", "XKX", "GERM"],
    );
    check(
        "is_currency_code",
        &["EUR", "USD", "JPY"],
        &["", "eur", "EURO", "DEM"],
    );
    check(
        "is_language_code",
        &["de", "en", "zh"],
        &["", "DE", "xx", "eng"],
    );
}

#[test]
fn json_and_persons() {
    check(
        "json_valid",
        &["{}", "[1, 2]", "null", "\"a\"", " 1 "],
        &["", "{", "{a: 1}", "1 2", "'a'"],
    );
    check(
        "contains_pii",
        &[
            "mail ann@example.org now",
            "card 4111-1111-1111-1111.",
            "call +1 415 555 2671",
            "ssn 078-05-1120",
            "DE89 3704 0044 0532 0130 00",
        ],
        &[
            "",
            "order 12345",
            "no person here",
            "4111-1111-1111-1112",
            "000-12-3456",
            "a@b",
            "2024-01-01 10:00:00",
        ],
    );
}

#[test]
fn times() {
    check(
        "is_date",
        &["2024-02-29", "1999-12-31"],
        &["", "2023-02-29", "yesterday", "2024-13-01"],
    );
    check(
        "is_timestamp",
        &["2024-02-29 10:00:00", "2024-02-29T10:00:00.5", "2024-02-29"],
        &["", "2024-02-30 10:00:00", "now", "2024-02-29 25:00:00"],
    );
}

#[test]
fn identities() {
    check(
        "is_us_ssn",
        &["123-45-6789", "123456789"],
        &[
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "123-00-4567",
            "123-45-0000",
            "12-345-6789",
            "1234567890",
            "12345678é",
        ],
    );
    check(
        "is_uk_nino",
        &["AB123456C", "AB 12 34 56 C"],
        &[
            "BG123456A",
            "DA123456A",
            "AO123456A",
            "AB123456E",
            "AB12345C",
            "ab123456c",
            "éB123456C",
        ],
    );
    check(
        "is_in_aadhaar",
        &["234123412346", "2341 2341 2346", "9999-9999-0019"],
        &["234123412347", "134123412346", "23412341234", ""],
    );
    check(
        "is_in_pan",
        &["ABCPE1234F"],
        &[
            "ABCDE1234F",
            "ABCPE1234",
            "ABCPE12345",
            "abcpe1234f",
            "ABCPé234F",
        ],
    );
    check(
        "is_subdivision_code",
        &["US-CA", "DE-BY", "GB-ENG", "FR-75"],
        &["US", "US-", "ZZ-CA", "US-CALI", "USA-CA", "us-ca"],
    );
}
