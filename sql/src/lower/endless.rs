//! Rules that have to see the last row before they know: what a streaming job cannot promise is refused.

use datafusion::logical_expr::LogicalPlan;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::rules::keyed::Ask;

use super::for_each_source;
use crate::ast::{Asks, Constraint, Expectation};

/// Refuses `KEEP LAST` without a bound, in rules of the sources of a plan and in those of its target.
pub(crate) fn check_last(
    plan: &LogicalPlan,
    constraints: &[Constraint],
    place: Place,
) -> Result<()> {
    let mut found: Option<(String, Place)> = None;
    for constraint in constraints {
        if let Expectation::Keyed(keyed) = &constraint.expectation
            && matches!(
                keyed.asks,
                Asks::Unique {
                    within: None,
                    keep_last: true,
                    ..
                }
            )
        {
            found = Some((constraint.name.text.clone(), constraint.place));
        }
    }
    for_each_source(plan, &mut |_, table| {
        for rule in table.rules() {
            let ask = rule.keyed.map(|keyed| keyed.ask);
            if matches!(ask, Some(Ask::UniqueLast(last)) if last.micros.is_none()) {
                found = Some((rule.name, place));
            }
        }
    })?;
    let Some((rule, place)) = found else {
        return Ok(());
    };
    let message = format!("rule \"{rule}\": KEEP LAST without WITHIN in a streaming job");
    Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
        .detail("another row of the key may always follow, so that no row could ever be published")
        .hint(
            "say how far apart rows are the same: UNIQUE (..) KEEP LAST WITHIN INTERVAL '1' HOUR, or keep the \
             last row of each key with ROW_NUMBER() in a MATERIALIZED VIEW",
        )
        .at(Some(place)))
}
