//! Quarantine tables among the objects of a script: `quarantine.<table>`.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_engine::error::{Result, codes};
use weir_engine::options::unknown;

use super::{Catalog, Entry, Object, word};
use crate::ast::{Name, ObjectKind};
use crate::stored::{QUARANTINE, QuarantineTable};

impl Catalog {
    /// Puts quarantine tables in the place of those put before. A name that is there stays.
    pub(crate) fn put_quarantines(&mut self, tables: impl Iterator<Item = QuarantineTable>) {
        self.entries
            .retain(|_, entry| !matches!(entry.object, Object::Quarantine(_)));
        for table in tables {
            let entry = self.entries.entry(table.full_name());
            entry.or_insert_with(|| Entry {
                text: "-- rows that rules have kept back".to_owned(),
                object: Object::Quarantine(Arc::new(table)),
                uses: BTreeSet::new(),
            });
        }
    }

    /// Finds a quarantine table by its name without the schema.
    pub(crate) fn quarantine(&self, name: &Name) -> Result<Arc<QuarantineTable>> {
        let full = format!("{QUARANTINE}.{}", name.text);
        match self.entries.get(&full).map(|entry| &entry.object) {
            Some(Object::Quarantine(table)) => Ok(Arc::clone(table)),
            _ => {
                let known = self.of_kind(ObjectKind::Quarantine);
                let known = known.map(|(name, _)| name);
                let what = word(ObjectKind::Quarantine);
                Err(unknown(codes::UNKNOWN_TABLE, what, &full, known).at(name.place))
            }
        }
    }
}
