//! Points in time, in whole seconds.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::value::{Datetime, Offset};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// Seconds of a day.
pub(crate) const DAY_S: u64 = 86_400;

impl Moment {
    /// What this machine's clock says. A clock before 1970 counts as 1970, when no signature
    /// was valid yet.
    #[must_use]
    pub fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// So many days later.
    #[must_use]
    pub fn plus_days(self, days: u64) -> Self {
        Self(self.0.saturating_add(days.saturating_mul(DAY_S)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// In TOML: a date, which means its beginning in UTC, or a date and time with an offset.
impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let datetime = Datetime::deserialize(deserializer)?;
        from_toml(&datetime).ok_or_else(|| {
            D::Error::custom(format!(
                "`{datetime}` is no point in time since 1970: write 2027-01-31 or \
                 2027-01-31T12:00:00Z"
            ))
        })
    }
}

fn from_toml(datetime: &Datetime) -> Option<Moment> {
    let date = datetime.date?;
    let days = days_since_epoch(date.year.into(), date.month.into(), date.day.into());
    let of_day = match (datetime.time, datetime.offset) {
        (None, None) => 0,
        (Some(time), Some(offset)) => {
            let minutes = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => i64::from(minutes),
            };
            let local = i64::from(time.hour) * 60 + i64::from(time.minute);
            (local - minutes) * 60 + i64::from(time.second.unwrap_or(0))
        }
        _ => return None,
    };
    u64::try_from(days * DAY_S as i64 + of_day).ok().map(Moment)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years begin in March here, so
/// that the leap day is the last one.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months_since_march = (month + 9) % 12;
    // The months from March on have 31, 30, 31, 30, 31 days, twice and again.
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        at: Moment,
    }

    #[test]
    fn dates_of_toml() {
        // Expected values are those of `date -u -d … +%s`.
        let cases = [
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(951_782_400)),
            ("2026-11-20", Some(1_795_132_800)),
            ("2026-11-20T18:30:15Z", Some(1_795_199_415)),
            ("2026-11-20T18:30:15+02:00", Some(1_795_192_215)),
            ("2100-03-01", Some(4_107_542_400)),
            ("1969-12-31", None),
            ("2026-11-20T18:30:15", None),
            ("18:30:15", None),
        ];
        for (text, expected) in cases {
            let read = toml::from_str::<File>(&format!("at = {text}")).ok();
            assert_eq!(read.map(|file| file.at.0), expected, "{text}");
        }
    }
}
