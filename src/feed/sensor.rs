//! Synthetic live data: sensors whose values wander as those of real ones do, the same for the same seed.
//! They are integers here and decimals in the JSON only.

use std::fmt;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// What a sensor measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SensorKind {
    /// Temperature and humidity.
    Weather,
    /// Speed and direction of the wind.
    Wind,
}

impl fmt::Display for SensorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weather => "weather",
            Self::Wind => "wind",
        })
    }
}

/// A sensor: its measurements never end.
#[derive(Debug)]
pub struct Sensor {
    kind: SensorKind,
    random: StdRng,
    number: u64,
    /// Temperature in 1/100 °C, or speed in 1/100 m/s.
    level: i64,
    /// Humidity in 1/10 %, or direction in degrees.
    other: i64,
}

impl Sensor {
    /// A sensor that has measured nothing yet.
    pub fn new(kind: SensorKind, seed: u64) -> Self {
        let (level, other) = match kind {
            SensorKind::Weather => (1850, 550),
            SensorKind::Wind => (620, 230),
        };
        Self { kind, random: StdRng::seed_from_u64(seed), number: 0, level, other }
    }

    /// A value that wanders by up to `step`, and is drawn back to the middle of its range.
    fn wander(&mut self, value: i64, step: i64, low: i64, high: i64) -> i64 {
        let middle = (low + high) / 2;
        let drift = self.random.random_range(-step..=step) + (middle - value) / 32;
        (value + drift).clamp(low, high)
    }
}

impl Iterator for Sensor {
    type Item = String;

    /// The next measurement, in JSON.
    fn next(&mut self) -> Option<String> {
        self.number += 1;
        let number = self.number;
        Some(match self.kind {
            SensorKind::Weather => {
                self.level = self.wander(self.level, 40, -1200, 3600);
                self.other = self.wander(self.other, 12, 200, 980);
                let (celsius, humidity) = (decimal(self.level, 2), decimal(self.other, 1));
                format!(r#"{{"number":{number},"celsius":{celsius},"humidity":{humidity}}}"#)
            }
            SensorKind::Wind => {
                self.level = self.wander(self.level, 90, 0, 2400);
                self.other = (self.other + self.random.random_range(-9..=9)).rem_euclid(360);
                let (speed, degrees) = (decimal(self.level, 2), self.other);
                format!(r#"{{"number":{number},"m_per_s":{speed},"degrees":{degrees}}}"#)
            }
        })
    }
}

/// A value in units of 10^-decimals, exactly.
fn decimal(value: i64, decimals: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    format!("{}{whole}.{fraction}", if value < 0 { "-" } else { "" })
}

#[cfg(test)]
mod tests {
    use xbr_wamp::codec::json::parse_plain;

    use super::*;

    #[test]
    fn measurements_are_json_and_the_same_for_the_same_seed() {
        for kind in [SensorKind::Weather, SensorKind::Wind] {
            let measured: Vec<_> = Sensor::new(kind, 7).take(2000).collect();
            assert_eq!(measured, Sensor::new(kind, 7).take(2000).collect::<Vec<_>>());
            assert_ne!(measured, Sensor::new(kind, 8).take(2000).collect::<Vec<_>>());
            for (line, number) in measured.iter().zip(1_u64..) {
                let value = parse_plain(line, &Default::default()).unwrap();
                assert_eq!(value.field("number").unwrap().as_u64(), Some(number));
            }
        }
    }

    #[test]
    fn decimals_are_exact() {
        for (value, decimals, text) in
            [(2137, 2, "21.37"), (-5, 2, "-0.05"), (0, 1, "0.0"), (-1200, 2, "-12.00")]
        {
            assert_eq!(decimal(value, decimals), text);
        }
    }
}
