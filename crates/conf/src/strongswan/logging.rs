//! `filelog`, `syslog` and `journal`.

use super::types::{FileLog, LOG_GROUPS, LogLevels, SysLog};
use crate::diag::Diagnostic;
use crate::swanctl::fields::Fields;
use crate::tree::Section;

pub(super) fn read(
    section: &Section,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Vec<FileLog>, Vec<SysLog>, LogLevels) {
    let subsections = |name: &str| section.section(name).into_iter().flat_map(Section::sections);
    let filelogs =
        subsections("filelog").map(|(name, section)| filelog(name, section, diagnostics)).collect();
    let syslogs =
        subsections("syslog").filter_map(|(name, section)| syslog(name, section, diagnostics)).collect();
    let journal = section
        .section("journal")
        .map(|section| levels(&mut Fields::new(section, diagnostics)))
        .unwrap_or_default();
    (filelogs, syslogs, journal)
}

fn filelog(name: &str, section: &Section, diagnostics: &mut Vec<Diagnostic>) -> FileLog {
    let mut fields = Fields::new(section, diagnostics);
    FileLog {
        name: name.to_owned(),
        // Older files name the section after the path, which a name with dots cannot be.
        path: section.get("path").unwrap_or(name).to_owned(),
        levels: levels(&mut fields),
        append: fields.bool("append", true),
        flush_line: fields.bool("flush_line", false),
        ike_name: fields.bool("ike_name", false),
        json: fields.bool("json", false),
        log_level: fields.bool("log_level", false),
        time_format: section.get("time_format").map(str::to_owned),
        time_precision: fields.word("time_precision", &[("ms", 3), ("us", 6)], 0),
    }
}

fn syslog(name: &str, section: &Section, diagnostics: &mut Vec<Diagnostic>) -> Option<SysLog> {
    if !matches!(name, "daemon" | "auth") {
        let message = format!("`{name}` is no syslog facility: expected daemon or auth");
        diagnostics.push(Diagnostic::error(section.span(), message));
        return None;
    }
    let mut fields = Fields::new(section, diagnostics);
    Some(SysLog {
        facility: name.to_owned(),
        levels: levels(&mut fields),
        ike_name: fields.bool("ike_name", false),
        log_level: fields.bool("log_level", false),
    })
}

fn levels(fields: &mut Fields<'_>) -> LogLevels {
    let mut level = |key: &str| {
        fields.parsed(key, "a level from -1 (silent) to 4", |text| {
            text.trim().parse::<i8>().ok().filter(|level| (-1..=4).contains(level))
        })
    };
    LogLevels {
        default: level("default").unwrap_or(1),
        groups: LOG_GROUPS.into_iter().filter_map(|group| Some((group, level(group)?))).collect(),
    }
}
