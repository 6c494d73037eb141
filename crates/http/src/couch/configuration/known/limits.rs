//! Settings of limits, and of the audit log.

use adea_pod::{LimitRule, LimitSettings, written_limit};

use super::{Changeable, Known, POSITIVE, SWITCH, put, read_positive, read_switch};

const RULE: &str = "a number in a time, as 10/1m, or 10/1m 50 for 50 at once, or off";

/// Where limits stand.
const SECTION: &[&str] = &["limits"];

fn limits(options: &Changeable) -> &LimitSettings {
    &options.auth.accounts.limits
}

fn changed(options: &mut Changeable) -> &mut LimitSettings {
    &mut options.auth.accounts.limits
}

fn show(rule: Option<&LimitRule>) -> Option<String> {
    Some(written_limit(rule))
}

/// Those of limits and of the audit log.
pub(crate) static LIMITS: &[Known] = &[
    Known {
        sections: SECTION,
        key: "sign_in",
        wanted: RULE,
        show: |options, _| show(limits(options).sign_in.as_ref()),
        take: |options, text| put(&mut changed(options).sign_in, LimitRule::parse(text)),
    },
    Known {
        sections: SECTION,
        key: "account_sign_in",
        wanted: RULE,
        show: |options, _| show(limits(options).account_sign_in.as_ref()),
        take: |options, text| {
            put(
                &mut changed(options).account_sign_in,
                LimitRule::parse(text),
            )
        },
    },
    Known {
        sections: SECTION,
        key: "mail",
        wanted: RULE,
        show: |options, _| show(limits(options).mail.as_ref()),
        take: |options, text| put(&mut changed(options).mail, LimitRule::parse(text)),
    },
    Known {
        sections: SECTION,
        key: "account_mail",
        wanted: RULE,
        show: |options, _| show(limits(options).account_mail.as_ref()),
        take: |options, text| put(&mut changed(options).account_mail, LimitRule::parse(text)),
    },
    Known {
        sections: SECTION,
        key: "sign_up",
        wanted: RULE,
        show: |options, _| show(limits(options).sign_up.as_ref()),
        take: |options, text| put(&mut changed(options).sign_up, LimitRule::parse(text)),
    },
    Known {
        sections: SECTION,
        key: "requests",
        wanted: RULE,
        show: |options, _| show(limits(options).requests.as_ref()),
        take: |options, text| put(&mut changed(options).requests, LimitRule::parse(text)),
    },
    Known {
        sections: SECTION,
        key: "loopback",
        wanted: SWITCH,
        show: |options, _| Some(limits(options).loopback.to_string()),
        take: |options, text| put(&mut changed(options).loopback, read_switch(text)),
    },
    Known {
        sections: &["audit"],
        key: "keep",
        wanted: POSITIVE,
        show: |options, _| {
            let keep_s = options.auth.accounts.audit_keep_s;
            keep_s.map(|keep_s| keep_s.to_string())
        },
        take: |options, text| {
            // Whoever may set it may not thereby remove what he has just done.
            let keep_s = read_positive(text).filter(|keep_s| *keep_s >= 86_400);
            put(&mut options.auth.accounts.audit_keep_s, keep_s.map(Some))
        },
    },
];
