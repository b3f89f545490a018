//! Numbers of the profile in few bits, and its state as bytes. Not here: what they mean (`mod`).
//!
//! In: amounts above 0. Out: 16 bits of a float, which compare as the amounts do; an eighth of a byte's
//! worth of a logarithm, which wraps.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Profile;

/// The layout of the bytes; the first of them.
const VERSION: u8 = 1;

/// Steps of a doubling in `log_steps`.
const STEPS: f32 = 16.0;

/// The exponent and the first 8 bits of an amount of at least 0: 0.4 % apart, in the order of the amounts.
pub(super) fn code(amount: f32) -> u16 {
    (amount.to_bits() >> 15) as u16
}

/// The middle of what has this code; 0 for none.
pub(super) fn decoded(code: u16) -> f32 {
    if code == 0 { 0.0 } else { f32::from_bits((u32::from(code) << 15) | 0x4000) }
}

/// The logarithm in steps of 4.4 %. It wraps every 16 doublings: only differences of less than 8 mean
/// something.
pub(super) fn log_steps(amount: f32) -> u8 {
    ((amount.log2() * STEPS).round() as i32) as u8
}

/// The factor that so many steps make.
pub(super) fn factor(steps: f32) -> f32 {
    (steps / STEPS).exp2()
}

/// How far an amount lies above another, in steps of half of those above: at most 8 doublings.
pub(super) fn distance(above: f32, amount: f32) -> u8 {
    ((above / amount).log2() * STEPS * 2.0).round().clamp(0.0, 255.0) as u8
}

/// The factor of a `distance`.
pub(super) fn distance_factor(distance: u8) -> f32 {
    factor(f32::from(distance) / 2.0)
}

/// Goes over every number of the state, to write it or to read it.
pub(super) trait Visit {
    /// The next bytes.
    fn bytes(&mut self, bytes: &mut [u8]);

    /// The next number.
    fn u8(&mut self, number: &mut u8) {
        self.bytes(std::slice::from_mut(number));
    }

    /// The next number.
    fn i8(&mut self, number: &mut i8) {
        let mut bytes = number.to_le_bytes();
        self.bytes(&mut bytes);
        *number = i8::from_le_bytes(bytes);
    }

    /// The next number.
    fn u16(&mut self, number: &mut u16) {
        let mut bytes = number.to_le_bytes();
        self.bytes(&mut bytes);
        *number = u16::from_le_bytes(bytes);
    }

    /// The next number.
    fn u32(&mut self, number: &mut u32) {
        let mut bytes = number.to_le_bytes();
        self.bytes(&mut bytes);
        *number = u32::from_le_bytes(bytes);
    }

    /// The next number.
    fn i32(&mut self, number: &mut i32) {
        let mut bytes = number.to_le_bytes();
        self.bytes(&mut bytes);
        *number = i32::from_le_bytes(bytes);
    }

    /// The next number.
    fn f32(&mut self, number: &mut f32) {
        let mut bytes = number.to_le_bytes();
        self.bytes(&mut bytes);
        *number = f32::from_le_bytes(bytes);
    }
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Visit for Writer<'_> {
    fn bytes(&mut self, bytes: &mut [u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Reads what is left; what is missing stays 0, and is told.
struct Reader<'a> {
    left: &'a [u8],
    short: bool,
}

impl Visit for Reader<'_> {
    fn bytes(&mut self, bytes: &mut [u8]) {
        match self.left.split_at_checked(bytes.len()) {
            Some((next, left)) => {
                bytes.copy_from_slice(next);
                self.left = left;
            }
            None => self.short = true,
        }
    }
}

impl Profile {
    /// Adds the state to `bytes`; `from_bytes` of it is the same to the last bit.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(VERSION);
        self.clone().visit(&mut Writer(bytes));
    }

    /// The state that was written; none where this version cannot have written it.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&version, left) = bytes.split_first()?;
        let mut reader = Reader { left, short: false };
        let mut profile = Self::default();
        profile.visit(&mut reader);
        (version == VERSION && !reader.short && reader.left.is_empty() && profile.is_sound())
            .then_some(profile)
    }
}

/// As text, two digits a byte: short in a JSON checkpoint.
impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: [char; 16] =
            ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        let mut bytes = Vec::with_capacity(size_of::<Self>() + 1);
        self.write(&mut bytes);
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        serializer.serialize_str(&digits.map(|digit| DIGITS[usize::from(digit)]).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let bytes: Option<Vec<u8>> = text
            .as_bytes()
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                _ => None,
            })
            .collect();
        let profile = bytes.as_deref().and_then(Self::from_bytes);
        profile.ok_or_else(|| D::Error::custom("a profile that this version did not write"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_the_order_and_the_amount() {
        let mut before = 0;
        for step in 1_u32..4000 {
            let amount = 1e-3 * 1.01_f32.powi(i32::try_from(step).expect("small"));
            let found = code(amount);
            assert!(found > before, "{amount}");
            assert!((decoded(found) / amount - 1.0).abs() < 0.002, "{amount}: {}", decoded(found));
            before = found;
        }
        assert_eq!((code(0.0), decoded(0).to_bits()), (0, 0));
    }

    #[test]
    fn differences_of_logarithms_survive_the_wrapping() {
        for (low, high) in [(1.0_f32, 3.0_f32), (3e9, 4e9), (1e6, 1e8), (4e9, 1e9)] {
            let steps = log_steps(high).wrapping_sub(log_steps(low)).cast_signed();
            assert!((factor(f32::from(steps)) / (high / low) - 1.0).abs() < 0.05, "{low} {high}");
        }
        assert!((distance_factor(distance(3.0, 2.0)) - 1.5).abs() < 0.02);
    }
}
