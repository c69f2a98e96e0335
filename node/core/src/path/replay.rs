//! Which of a peer's questions were answered: each is once.

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Replay {
    highest: u64,
    /// Bit n: highest − n was taken.
    taken: u64,
}

impl Replay {
    /// Whether this one was not taken before; then it is now.
    pub(super) fn take(&mut self, count: u64) -> bool {
        if count > self.highest {
            let step = count - self.highest;
            self.taken = if step < 64 { self.taken << step } else { 0 } | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        if behind >= 64 || self.taken & (1 << behind) != 0 {
            return false;
        }
        self.taken |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_is_answered_once_in_whatever_order_they_come() {
        let mut replay = Replay::default();
        for (count, fresh) in [
            (5, true),
            (5, false),
            (3, true),
            (3, false),
            (90, true),
            (5, false),
            (27, true),
            (26, false),
            (90, false),
        ] {
            assert_eq!(replay.take(count), fresh, "{count}");
        }
    }
}
