//! The filters that make mel bands of a spectrum, which whisper.cpp expects in the model's file.

/// Bins of the spectrum of a window of 400 samples.
pub(super) const BINS: usize = 201;

const WINDOW: f64 = 400.0;
const RATE: f64 = 16_000.0;
/// Slaney's scale is linear up to here, and logarithmic above.
const CORNER_HZ: f64 = 1000.0;
/// Hz per mel below the corner.
const LINEAR: f64 = 200.0 / 3.0;

/// The weight of each of the [`BINS`] in each of `mels` bands, band by band: triangles that are
/// evenly spaced on Slaney's mel scale up to half the sampling rate, each of area 1.
pub(super) fn filters(mels: u32) -> Vec<f32> {
    let top = to_mel(RATE / 2.0);
    let step = top / f64::from(mels + 1);
    let mut corners: Vec<f64> = (0..=mels).map(|i| to_hz(f64::from(i) * step)).collect();
    corners.push(to_hz(top));
    let bin = 1.0 / (WINDOW * (1.0 / RATE));
    corners
        .windows(3)
        .flat_map(|corner| {
            let area = 2.0 / (corner[2] - corner[0]);
            (0..BINS).map(move |i| {
                let hz = i as f64 * bin;
                let rise = -(corner[0] - hz) / (corner[1] - corner[0]);
                let fall = (corner[2] - hz) / (corner[2] - corner[1]);
                let height = rise.min(fall);
                // Not `max`, which may make the very first, a negative zero, a positive one: files
                // that others have made begin with the negative one.
                (if height < 0.0 { 0.0 } else { height * area }) as f32
            })
        })
        .collect()
}

fn log_step() -> f64 {
    6.4_f64.ln() / 27.0
}

fn to_mel(hz: f64) -> f64 {
    if hz < CORNER_HZ {
        hz / LINEAR
    } else {
        CORNER_HZ / LINEAR + (hz / CORNER_HZ).ln() / log_step()
    }
}

fn to_hz(mel: f64) -> f64 {
    let corner = CORNER_HZ / LINEAR;
    if mel < corner { LINEAR * mel } else { CORNER_HZ * (log_step() * (mel - corner)).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_cover_the_spectrum_and_have_area_one() {
        for mels in [80, 128] {
            let filters = filters(mels);
            assert_eq!(filters.len(), mels as usize * BINS);
            for (i, band) in filters.chunks(BINS).enumerate() {
                assert!(band.iter().all(|weight| *weight >= 0.0), "band {i}");
                assert!(
                    band.iter().any(|weight| *weight > 0.0),
                    "band {i} of {mels} hears nothing"
                );
            }
            // Wide bands are sampled finely enough for their sum, times 40 Hz a bin, to be their area.
            let last: f32 = filters[filters.len() - BINS..].iter().sum();
            assert!((last * 40.0 - 1.0).abs() < 0.02, "{last}");
        }
    }
}
