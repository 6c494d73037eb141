//! Fields as forms and queries write them (`application/x-www-form-urlencoded`).
//!
//! Invariant: a field that comes twice is no field: whoever checks one must not be shown another.

/// The most fields of a form that are looked at.
const FIELDS_MAX: usize = 64;

/// `fields` as one text.
#[must_use]
pub fn encode(fields: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in fields {
        if !out.is_empty() {
            out.push('&');
        }
        escape(&mut out, name);
        out.push('=');
        escape(&mut out, value);
    }
    out
}

/// Writes `text` so that it means nothing in a URL or form but itself.
pub fn escape(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
}

/// The fields of a form. `None` if it is none, or if a field comes twice.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<(String, String)>> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for field in text.split('&').filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let (name, value) = (unescaped(name)?, unescaped(value)?);
        if fields.len() == FIELDS_MAX || fields.iter().any(|(known, _)| *known == name) {
            return None;
        }
        fields.push((name, value));
    }
    Some(fields)
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let value = digit()? * 16 + digit()?;
                out.push(u8::try_from(value).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were() {
        let fields = [("a", "1&b=2"), ("näme", "x y+z%"), ("empty", "")];
        let text = encode(&fields);
        assert_eq!(text, "a=1%26b%3D2&n%C3%A4me=x%20y%2Bz%25&empty=");
        let back = decode(&text).unwrap();
        let back: Vec<(&str, &str)> = back.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(back, fields);
        assert_eq!(decode("a=b+c").unwrap()[0].1, "b c");
    }

    #[test]
    fn what_is_no_form_or_says_a_thing_twice_is_refused() {
        for text in ["a=%", "a=%zz", "a=%ff", "state=1&state=2", "a&a"] {
            assert_eq!(decode(text), None, "{text}");
        }
        let many: Vec<String> = (0..=FIELDS_MAX).map(|n| format!("f{n}=1")).collect();
        assert_eq!(decode(&many.join("&")), None);
    }
}
