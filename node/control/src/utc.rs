//! Times in UTC, as people read them.

/// The day of a time: `2026-11-22`. Howard Hinnant's `civil_from_days`.
pub fn date(ms: u64) -> String {
    let days = ms / 1_000 / DAY + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The second of a time: `2026-11-22 19:38:02`.
pub fn clock(ms: u64) -> String {
    let second = ms / 1_000 % DAY;
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{} {hour:02}:{minute:02}:{:02}", date(ms), second % 60)
}

const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_by_day_and_second() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400_000), "2000-02-29");
        assert_eq!(clock(1_795_348_800_000 + 3_723_000), "2026-11-22 13:02:03");
    }

    #[test]
    fn any_number_is_a_time() {
        assert!(!clock(u64::MAX).is_empty());
    }
}
