//! Repeatable randomness: the same seed draws the same faults in the same order.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, and good enough to shuffle with.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A separate stream for each name.
    pub(crate) fn new(seed: u64, name: &str) -> Random {
        Random(name.bytes().fold(seed, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into())))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Any byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A time between these two, to the millisecond.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = (most - least).as_millis() as usize;
        least + Duration::from_millis(self.below(span + 1) as u64)
    }

    /// 0 … `length` - 1, in any order.
    pub(crate) fn order(&mut self, length: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..length).collect();
        for last in (1..length).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

#[test]
fn a_seed_is_an_order() {
    let order = |seed, name| Random::new(seed, name).order(50);
    assert_eq!(order(7, "app"), order(7, "app"));
    assert_ne!(order(7, "app"), order(8, "app"));
    assert_ne!(order(7, "app"), order(7, "database"));
    let mut sorted = order(7, "app");
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
}
