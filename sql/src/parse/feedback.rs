//! `FEEDBACK ON ANOMALY 'id' EXPECTED | TRUE_POSITIVE | FALSE_POSITIVE`.

use datafusion::sql::sqlparser::tokenizer::Token;
use weir_anomaly::Feedback;
use weir_engine::Result;

use super::cursor::Cursor;
use crate::ast::FeedbackOn;

/// Parses the statement.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<FeedbackOn> {
    cursor.expect(&["FEEDBACK", "ON", "ANOMALY"])?;
    let place = cursor.place();
    let Token::SingleQuotedString(id) = cursor.peek().token.clone() else {
        let hint = "SELECT id, model, key, time FROM weir.anomalies shows them";
        return Err(cursor.expected("the id of an anomaly in quotes").hint(hint));
    };
    cursor.next();
    let said = cursor.word().and_then(Feedback::of_word);
    let Some(feedback) = said else {
        return Err(cursor.expected("EXPECTED, TRUE_POSITIVE or FALSE_POSITIVE"));
    };
    cursor.next();
    Ok(FeedbackOn {
        id,
        place,
        feedback,
    })
}
