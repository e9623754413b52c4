//! Numbers as people read them.

use std::time::Duration;

/// A float with so many significant digits, without trailing zeros.
pub(super) fn short(float: f64, digits: i32) -> String {
    if float == 0.0 || !float.is_finite() {
        return float.to_string();
    }
    let magnitude = float.abs().log10().floor() as i32;
    if !(-5..15).contains(&magnitude) {
        return format!("{float:.*e}", digits as usize - 1);
    }
    let decimals = (digits - 1 - magnitude).max(0) as usize;
    let text = format!("{float:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A count with a comma between thousands.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A span of time in its two largest units.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_short_and_not_rounded_away() {
        let cases = [
            (19.99, "19.99"),
            (0.083141592, "0.0831416"),
            (3.0, "3"),
            (1234567.0, "1234567"),
            (-0.00001234567, "-0.0000123457"),
            (1e-9, "1.00000e-9"),
            (100.0, "100"),
            (f64::NAN, "NaN"),
        ];
        assert_eq!(short(0.428571, 4), "0.4286");
        for (float, text) in cases {
            assert_eq!(short(float, 6), text);
        }
    }

    #[test]
    fn counts_are_grouped_and_spans_named() {
        assert_eq!([grouped(0), grouped(999), grouped(12101)], ["0", "999", "12,101"]);
        assert_eq!(span(Duration::from_secs(59)), "59 s");
        assert_eq!(span(Duration::from_secs(61)), "1 min 01 s");
        assert_eq!(span(Duration::from_secs(7265)), "2 h 01 min");
    }
}
