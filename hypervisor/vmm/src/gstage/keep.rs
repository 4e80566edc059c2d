//! The state of the table beyond the memory that it is in, and whether that memory is a table.

use std::collections::BTreeSet;

use dv::Dv;
use isa::fields::PTE;
use state::{Codec, Damaged};

use super::{GStage, ROOT_BYTES, TABLE_LEN, is_leaf};

impl GStage {
    /// Goes through the state. Memory is below and has to be loaded before: if what it holds is no
    /// table that could have been made here, that is damage.
    pub(crate) fn state<D: Dv>(&mut self, codec: &mut Codec<'_>, dv: &D) -> Result<(), Damaged> {
        self.pool.state(codec, dv.windows().get(1..).unwrap_or_default())?;
        if codec.is_loading() {
            let mut used: BTreeSet<u64> = self.pool.free().iter().copied().collect();
            codec.check(used.len() == self.pool.free().len(), "a page of tables is free twice")?;
            self.mapped = 0;
            for offset in (0..ROOT_BYTES).step_by(TABLE_LEN) {
                self.check_table(dv, self.root + offset, self.top(), &mut used)?;
            }
        }
        Ok(())
    }

    /// Each table is used once and lies in the pool; leaves may be anything, for hardware checks
    /// what they map.
    fn check_table<D: Dv>(
        &mut self,
        dv: &D,
        table: u64,
        level: u8,
        used: &mut BTreeSet<u64>,
    ) -> Result<(), Damaged> {
        let damaged = |what| Err(Damaged { what });
        let mut bytes = [0; TABLE_LEN];
        if dv.read(table, &mut bytes).is_err() {
            return damaged("a stage-2 table that cannot be read");
        }
        let (entries, _) = bytes.as_chunks();
        for pte in entries.iter().map(|entry| u64::from_le_bytes(*entry)) {
            if !PTE::V.is_set(pte) {
                continue;
            }
            if is_leaf(pte) {
                self.mapped += Self::span(level);
                continue;
            }
            let below = PTE::PPN.get(pte) * super::PAGE;
            let Some(next) = level.checked_sub(1) else {
                return damaged("a stage-2 table below the last level");
            };
            if !self.pool.is_taken(below) || !used.insert(below) {
                return damaged("a stage-2 table that is not in its pool, or is used twice");
            }
            self.check_table(dv, below, next, used)?;
        }
        Ok(())
    }
}
