//! Decimals, exactly, in the wire's binary form: digits to the base of 10,000.

/// The binary form of a decimal number in plain notation; `None` if it is no such thing, or has too many digits.
pub fn binary(text: &str) -> Option<Vec<u8>> {
    const POSITIVE: u16 = 0x0000;
    const NEGATIVE: u16 = 0x4000;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (NEGATIVE, digits),
        None => (POSITIVE, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let scale = u16::try_from(fraction.len()).ok()?;
    // Groups of four on both sides of the point.
    let groups_before = whole.len().div_ceil(4);
    let padded = format!("{whole:0>width$}", width = groups_before * 4);
    let after = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    let mut groups: Vec<u16> = Vec::new();
    for group in padded.as_bytes().chunks(4).chain(after.as_bytes().chunks(4)) {
        groups.push(group.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0')));
    }
    let mut weight = i16::try_from(groups_before).ok()? - 1;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= i16::try_from(leading).ok()?;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let (sign, weight) = if groups.is_empty() { (POSITIVE, 0) } else { (sign, weight) };
    let count = u16::try_from(groups.len()).ok()?;
    let mut bytes = Vec::with_capacity(8 + groups.len() * 2);
    for field in [count.to_be_bytes(), weight.to_be_bytes(), sign.to_be_bytes(), scale.to_be_bytes()] {
        bytes.extend(field);
    }
    groups.iter().for_each(|group| bytes.extend(group.to_be_bytes()));
    Some(bytes)
}

/// The text of a decimal in binary form; `None` for what is no finite number.
pub fn text(bytes: &[u8]) -> Option<String> {
    let mut fields = bytes.chunks_exact(2).map(|pair| <[u8; 2]>::try_from(pair).map(u16::from_be_bytes).unwrap_or(0));
    let (count, weight, sign, scale) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let groups: Vec<u16> = fields.collect();
    if groups.len() != usize::from(count)
        || !matches!(sign, 0x0000 | 0x4000)
        || groups.iter().any(|group| *group > 9_999)
    {
        return None;
    }
    let weight = i32::from(i16::from_be_bytes(weight.to_be_bytes()));
    // More digits than any column has.
    if weight > 100 || scale > 200 {
        return None;
    }
    let group =
        |place: i32| usize::try_from(weight - place).ok().and_then(|index| groups.get(index)).copied().unwrap_or(0);
    let mut out = String::from(if sign == 0x4000 { "-" } else { "" });
    let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", group(place))).collect();
    let whole = whole.trim_start_matches('0');
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let places = i32::from(scale).div_euclid(4) + 1;
        let fraction: String = (1..=places).map(|place| format!("{:04}", group(-place))).collect();
        out.push('.');
        out.extend(fraction.chars().take(usize::from(scale)));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<i16> {
        let bytes = binary(text).unwrap();
        bytes.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn digits_are_grouped_by_four_from_the_point() {
        assert_eq!(fields("0"), [0, 0, 0, 0]);
        assert_eq!(fields("0.000"), [0, 0, 0, 3]);
        assert_eq!(fields("12345.678"), [3, 1, 0, 3, 1, 2345, 6780]);
        assert_eq!(fields("-0.0000123"), [1, -2, 0x4000, 7, 1230]);
        assert_eq!(fields("10000"), [1, 1, 0, 0, 1]);
        assert!(binary("NaN").is_none() && binary("").is_none() && binary("1e5").is_none());
    }

    #[test]
    fn every_number_comes_back_as_it_was() {
        for number in [
            "0",
            "1",
            "-1",
            "9999",
            "10000",
            "0.1",
            "0.0001",
            "0.00001",
            "-0.0000123",
            "123456789.987654321",
            "99999999999999999999999999.123456789012",
            "-100000000.00000001",
            "0.100000000000",
        ] {
            assert_eq!(text(&binary(number).unwrap()).as_deref(), Some(number));
        }
        assert_eq!(text(&[0, 0, 0, 0, 0xC0, 0, 0, 0]), None, "NaN");
        assert_eq!(text(&[0, 1]), None);
        assert_eq!(text(&[0, 0, 0x7f, 0xff, 0, 0, 0, 0]), None, "a million zeros");
    }
}
