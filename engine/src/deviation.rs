//! Data that is not as its source declares it: what a script wants done about it.

/// What becomes of columns that are not those of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnChange {
    /// Columns that nobody declared are not read, those that are missing are null, and values of other
    /// types are cast one by one.
    #[default]
    Ignore,
    /// The job ends where the columns are not exactly those of the source.
    Fail,
    /// Types may only be narrower: values of all others could be lost.
    Widen,
    /// What nobody declared, and values that don't fit their column, go to the rescue column.
    Rescue,
}

/// How a source meets data that is not as declared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deviations {
    /// The text column that takes what has no other place, as a JSON object.
    pub rescue: Option<String>,
    /// Records of which a part cannot be read are rows without it; it goes to the rescue column.
    pub rescues_records: bool,
    /// What becomes of other columns.
    pub on_change: OnChange,
}
