//! The settings of `CouchDB` that mean something here: how they are shown, and what they change.

mod limits;
mod sign_in;

use std::time::Duration;

use adea_pod::{AuthSettings, Pod};

use crate::server::HttpOptions;

pub(super) use limits::LIMITS;
pub(super) use sign_in::SIGN_IN;

/// What settings change.
#[derive(Clone, Debug)]
pub(super) struct Changeable {
    /// How requests are taken.
    pub(super) http: HttpOptions,
    /// How somebody signs in.
    pub(super) auth: AuthSettings,
}

/// A setting that means something here.
pub(super) struct Known {
    /// The sections it may stand in; of several values the first section's holds.
    pub(super) sections: &'static [&'static str],
    pub(super) key: &'static str,
    /// What a value must be, for a refusal.
    pub(super) wanted: &'static str,
    /// What is in force; `None` if there is nothing to tell.
    pub(super) show: fn(&Changeable, &Pod) -> Option<String>,
    /// Takes a value over; false for one that cannot be.
    pub(super) take: fn(&mut Changeable, &str) -> bool,
}

const NUMBER: &str = "a number that is not negative";
const POSITIVE: &str = "a number greater than 0";
const SIZE: &str = "a number of bytes, or infinity";
const SWITCH: &str = "true or false";
const TEXT: &str = "a text";
const LIST: &str = "a list with commas";

/// Those of requests, and of the server as a whole.
pub(super) static REQUESTS: &[Known] = &[
    Known {
        sections: &["couchdb"],
        key: "max_document_size",
        wanted: SIZE,
        show: |options, _| Some(size(options.http.document_bytes_max)),
        take: |options, text| put(&mut options.http.document_bytes_max, read_size(text)),
    },
    Known {
        sections: &["couchdb"],
        key: "max_attachment_size",
        wanted: SIZE,
        show: |options, _| Some(size(options.http.attachment_bytes_max)),
        take: |options, text| put(&mut options.http.attachment_bytes_max, read_size(text)),
    },
    Known {
        sections: &["chttpd", "httpd"],
        key: "max_http_request_size",
        wanted: SIZE,
        show: |options, _| Some(size(options.http.request_bytes_max)),
        take: |options, text| put(&mut options.http.request_bytes_max, read_size(text)),
    },
    Known {
        sections: &["chttpd", "httpd"],
        key: "changes_timeout",
        wanted: "a number of milliseconds greater than 0",
        show: |options, _| Some(options.http.changes_timeout.as_millis().to_string()),
        take: |options, text| {
            let span = read_positive(text).map(Duration::from_millis);
            put(&mut options.http.changes_timeout, span)
        },
    },
    Known {
        sections: &["chttpd", "httpd"],
        key: "enable_cors",
        wanted: SWITCH,
        show: |options, _| Some(options.http.cors.enabled.to_string()),
        take: |options, text| put(&mut options.http.cors.enabled, read_switch(text)),
    },
    Known {
        sections: &["cors"],
        key: "origins",
        wanted: "* or origins with commas between",
        show: |options, _| {
            let any = options.http.cors.any_origin.then(|| "*".to_owned());
            let all = any
                .into_iter()
                .chain(options.http.cors.origins.iter().cloned());
            Some(all.collect::<Vec<_>>().join(","))
        },
        take: |options, text| {
            let origins = words(text);
            options.http.cors.any_origin = origins.iter().any(|origin| origin == "*");
            options.http.cors.origins = origins.into_iter().filter(|known| known != "*").collect();
            true
        },
    },
    Known {
        sections: &["cors"],
        key: "credentials",
        wanted: SWITCH,
        show: |options, _| Some(options.http.cors.credentials.to_string()),
        take: |options, text| put(&mut options.http.cors.credentials, read_switch(text)),
    },
    Known {
        sections: &["cors"],
        key: "headers",
        wanted: LIST,
        show: |options, _| Some(options.http.cors.headers.join(", ")),
        take: |options, text| {
            options.http.cors.headers = words(text);
            true
        },
    },
    Known {
        sections: &["cors"],
        key: "methods",
        wanted: LIST,
        show: |options, _| Some(options.http.cors.methods.clone()),
        take: |options, text| {
            options.http.cors.methods = words(text).join(", ");
            http::HeaderValue::from_str(&options.http.cors.methods).is_ok()
        },
    },
    Known {
        sections: &["cors"],
        key: "max_age",
        wanted: NUMBER,
        show: |options, _| Some(options.http.cors.max_age_s.to_string()),
        take: |options, text| put(&mut options.http.cors.max_age_s, text.parse().ok()),
    },
    Known {
        sections: &["couchdb"],
        key: "maintenance_mode",
        wanted: "true, false or nolb",
        show: |_, _| Some("false".to_owned()),
        take: |_, text| matches!(text, "true" | "false" | "nolb"),
    },
    Known {
        sections: &["purge"],
        key: "max_document_id_number",
        wanted: POSITIVE,
        show: |_, _| Some(super::super::database::PURGES_MAX.to_string()),
        take: |_, text| read_positive(text).is_some(),
    },
    Known {
        sections: &["purge"],
        key: "max_revisions_number",
        wanted: POSITIVE,
        show: |_, _| Some(super::super::database::PURGES_MAX.to_string()),
        take: |_, text| read_positive(text).is_some(),
    },
    Known {
        sections: &["chttpd"],
        key: "max_db_number_for_dbs_info_req",
        wanted: POSITIVE,
        show: |_, _| Some(super::super::server::INFOS_MAX.to_string()),
        take: |_, text| read_positive(text).is_some(),
    },
    Known {
        sections: &["uuids"],
        key: "max_count",
        wanted: POSITIVE,
        show: |_, _| Some(super::super::server::UUIDS_MAX.to_string()),
        take: |_, text| read_positive(text).is_some(),
    },
    Known {
        sections: &["uuids"],
        key: "algorithm",
        wanted: TEXT,
        show: |_, _| Some("sequential".to_owned()),
        take: |_, _| true,
    },
    Known {
        sections: &["couchdb"],
        key: "uuid",
        wanted: "left as it is: checkpoints are named by it",
        show: |_, pod| Some(pod.identity().uuid.clone()),
        take: |_, _| false,
    },
    Known {
        sections: &["couchdb"],
        key: "single_node",
        wanted: TEXT,
        show: |_, _| Some("true".to_owned()),
        take: |_, _| true,
    },
    Known {
        sections: &["couchdb"],
        key: "default_security",
        wanted: TEXT,
        show: |_, _| Some("admin_only".to_owned()),
        take: |_, _| true,
    },
    Known {
        sections: &["cluster"],
        key: "n",
        wanted: TEXT,
        show: |_, _| Some("1".to_owned()),
        take: |_, _| true,
    },
    Known {
        sections: &["cluster"],
        key: "q",
        wanted: TEXT,
        show: |_, _| Some("1".to_owned()),
        take: |_, _| true,
    },
    Known {
        sections: &["vendor"],
        key: "name",
        wanted: TEXT,
        show: |_, _| Some("Adea".to_owned()),
        take: |_, _| true,
    },
];

pub(super) fn put<T>(place: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *place = value;
            true
        }
        None => false,
    }
}

pub(super) fn size(bytes: u64) -> String {
    if bytes == u64::MAX {
        "infinity".to_owned()
    } else {
        bytes.to_string()
    }
}

pub(super) fn read_size(text: &str) -> Option<u64> {
    if text == "infinity" {
        return Some(u64::MAX);
    }
    read_positive(text)
}

pub(super) fn read_positive(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number > 0)
}

pub(super) fn read_switch(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

pub(super) fn words(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}
