//! Numbers as the files store them, and the way from one form to the other.

/// How a ggml file stores the numbers of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are ggml's")]
pub enum TensorType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// One line per type: the type, ggml's number for a tensor, whisper.cpp's number for a model,
/// elements of a block, bytes of a block, the name.
#[rustfmt::skip]
const TYPES: &[(TensorType, u32, u32, u64, u64, &str)] = &[
    (TensorType::F32,   0,  0,   1,   4, "f32"),
    (TensorType::F16,   1,  1,   1,   2, "f16"),
    (TensorType::Q4_0,  2,  2,  32,  18, "q4_0"),
    (TensorType::Q4_1,  3,  3,  32,  20, "q4_1"),
    (TensorType::Q5_0,  6,  8,  32,  22, "q5_0"),
    (TensorType::Q5_1,  7,  9,  32,  24, "q5_1"),
    (TensorType::Q8_0,  8,  7,  32,  34, "q8_0"),
    (TensorType::Q2K,  10, 10, 256,  84, "q2_k"),
    (TensorType::Q3K,  11, 11, 256, 110, "q3_k"),
    (TensorType::Q4K,  12, 12, 256, 144, "q4_k"),
    (TensorType::Q5K,  13, 13, 256, 176, "q5_k"),
    (TensorType::Q6K,  14, 14, 256, 210, "q6_k"),
];

/// Elements of a q8_0 block, which share one scale.
pub(super) const Q8_0_BLOCK: usize = 32;

impl TensorType {
    /// The name in file names and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().5
    }

    fn row(self) -> &'static (TensorType, u32, u32, u64, u64, &'static str) {
        TYPES.iter().find(|row| row.0 == self).expect("invariant: every type has its line")
    }

    /// The type that a tensor's header gives this number.
    pub(super) fn of_tensor(number: u32) -> Option<TensorType> {
        TYPES.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// The type that a model's header gives this number, which holds a version of the quantisation
    /// in its thousands.
    pub(super) fn of_model(number: u32) -> Option<TensorType> {
        TYPES.iter().find(|row| row.2 == number % 1000).map(|row| row.0)
    }

    pub(super) fn tensor_number(self) -> u32 {
        self.row().1
    }

    pub(super) fn model_number(self) -> u32 {
        match self {
            TensorType::F32 | TensorType::F16 => self.row().2,
            _ => 2000 + self.row().2,
        }
    }

    /// Bytes of `rows` rows of `columns` elements; `None` when the rows do not fill whole blocks,
    /// or the bytes are more than there can be.
    pub(super) fn bytes(self, columns: u64, rows: u64) -> Option<u64> {
        let (_, _, _, elements, bytes, _) = *self.row();
        if !columns.is_multiple_of(elements) {
            return None;
        }
        (columns / elements).checked_mul(bytes)?.checked_mul(rows)
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How CTranslate2 and safetensors store the numbers of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    I8,
    I16,
    I32,
    F16,
    Bf16,
}

impl Element {
    pub(super) fn bytes(self) -> u64 {
        match self {
            Element::I8 => 1,
            Element::I16 | Element::F16 | Element::Bf16 => 2,
            Element::F32 | Element::I32 => 4,
        }
    }

    /// True for the types that are a quantised weight and need a scale.
    pub(super) fn is_quantised(self) -> bool {
        matches!(self, Element::I8 | Element::I16 | Element::I32)
    }

    /// Appends the numbers in `bytes` to `out`.
    pub(super) fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        fn pairs(bytes: &[u8]) -> impl Iterator<Item = [u8; 2]> {
            bytes.chunks_exact(2).map(|b| [b[0], b[1]])
        }
        fn quads(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
            bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]])
        }
        match self {
            Element::F32 => out.extend(quads(bytes).map(f32::from_le_bytes)),
            Element::I8 => out.extend(bytes.iter().map(|b| f32::from(b.cast_signed()))),
            Element::I16 => out.extend(pairs(bytes).map(|b| f32::from(i16::from_le_bytes(b)))),
            Element::I32 => out.extend(quads(bytes).map(|b| i32::from_le_bytes(b) as f32)),
            Element::F16 => out.extend(pairs(bytes).map(|b| f16_to_f32(u16::from_le_bytes(b)))),
            Element::Bf16 => out.extend(
                pairs(bytes).map(|b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            ),
        }
    }
}

/// Appends `numbers` to `out` as f32.
pub(super) fn encode_f32(numbers: &[f32], out: &mut Vec<u8>) {
    out.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
}

/// Appends `numbers` to `out` as f16, rounded to nearest, ties to even.
pub(super) fn encode_f16(numbers: &[f32], out: &mut Vec<u8>) {
    out.extend(numbers.iter().flat_map(|x| f32_to_f16(*x).to_le_bytes()));
}

/// Appends `numbers`, whole blocks of them, to `out` as q8_0: per block a scale and 32 bytes. A
/// block that holds NaN becomes zeros and what is out of range the nearest that is in range, as
/// Rust's casts do.
pub(super) fn encode_q8_0(numbers: &[f32], out: &mut Vec<u8>) {
    for block in numbers.chunks_exact(Q8_0_BLOCK) {
        let scale = block.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        out.extend(f32_to_f16(scale).to_le_bytes());
        let quantised = block.iter().map(|x| (x * inverse).round_ties_even() as i8);
        out.extend(quantised.map(i8::cast_unsigned));
    }
}

fn f32_to_f16(x: f32) -> u16 {
    /// From here on a number rounds to infinity: 65520.
    const INFINITE: u32 = 0x477f_f000;
    /// The smallest number that is normal in f16: 2^-14.
    const NORMAL: u32 = 0x3880_0000;
    let bits = x.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    sign | if x.is_nan() {
        0x7c00 | ((magnitude >> 13) as u16 & 0x3ff).max(1)
    } else if magnitude >= INFINITE {
        0x7c00
    } else if magnitude >= NORMAL {
        // The exponent's bias goes from 127 to 15; adding just under half of the last place, and
        // one more where that place is odd, rounds ties to even and carries into the exponent.
        let half = 0xfff + ((magnitude >> 13) & 1);
        ((magnitude - (112 << 23) + half) >> 13) as u16
    } else {
        // A subnormal counts in steps of 2^-24; the product is exact.
        (f32::from_bits(magnitude) * 16_777_216.0).round_ties_even() as u16
    }
}

fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10) & 0x1f;
    let mantissa = u32::from(half & 0x3ff);
    match exponent {
        0 => f32::from_bits(sign | (mantissa as f32 / 16_777_216.0).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | (mantissa << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_survives_the_way_through_f32() {
        for half in 0..=u16::MAX {
            assert_eq!(f32_to_f16(f16_to_f32(half)), half, "{half:#06x}");
        }
    }

    #[test]
    fn f16_rounds_to_nearest_and_ties_to_even() {
        // Between each two neighbours: just under the middle, the middle, just over it.
        for low in 0..0x7bff_u16 {
            let middle = (f16_to_f32(low) + f16_to_f32(low + 1)) / 2.0;
            let even = low + (low & 1);
            assert_eq!(f32_to_f16(middle), even, "{low:#06x}");
            assert_eq!(f32_to_f16(middle.next_down()), low, "{low:#06x}");
            assert_eq!(f32_to_f16(middle.next_up()), low + 1, "{low:#06x}");
            assert_eq!(f32_to_f16(-middle), 0x8000 | even, "{low:#06x}");
        }
        assert_eq!(f32_to_f16(65519.996), 0x7bff);
        assert_eq!(f32_to_f16(65520.0), 0x7c00);
        assert_eq!(f32_to_f16(f32::INFINITY), 0x7c00);
        assert_eq!(f32_to_f16(f32::MIN_POSITIVE), 0);
    }

    #[test]
    fn q8_0_keeps_each_number_within_half_a_step() {
        let numbers: Vec<f32> = (0..64).map(|i| ((i * 37 % 64) as f32 - 31.0) * 0.013).collect();
        let mut bytes = Vec::new();
        encode_q8_0(&numbers, &mut bytes);
        assert_eq!(bytes.len(), 2 * 34);
        for (block, stored) in numbers.chunks(32).zip(bytes.chunks(34)) {
            let scale = f16_to_f32(u16::from_le_bytes([stored[0], stored[1]]));
            for (x, q) in block.iter().zip(&stored[2..]) {
                let back = f32::from(q.cast_signed()) * scale;
                assert!((x - back).abs() <= scale * 0.6, "{x} became {back}");
            }
        }
    }

    #[test]
    fn q8_0_takes_zeros_and_nonsense() {
        let mut bytes = Vec::new();
        encode_q8_0(&[0.0; 32], &mut bytes);
        assert_eq!(bytes, [0; 34]);
        encode_q8_0(&[f32::NAN; 32], &mut bytes);
        encode_q8_0(&[f32::INFINITY; 32], &mut bytes);
        encode_q8_0(&[1e-42; 32], &mut bytes);
        assert_eq!(bytes.len(), 4 * 34);
    }

    #[test]
    fn sizes_are_in_whole_blocks() {
        assert_eq!(TensorType::Q8_0.bytes(64, 2), Some(136));
        assert_eq!(TensorType::Q8_0.bytes(80, 2), None);
        assert_eq!(TensorType::F32.bytes(u64::MAX, 2), None);
        for row in TYPES {
            assert_eq!(TensorType::of_tensor(row.0.tensor_number()), Some(row.0));
            assert_eq!(TensorType::of_model(row.0.model_number()), Some(row.0));
        }
    }
}
