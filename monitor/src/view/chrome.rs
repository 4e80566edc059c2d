//! The four rows around every view: state, tabs, keys, message.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use session::{RunState, VcpuState};

use super::{paint, words};
use crate::format::{ahead, clock, si};
use crate::keys::{Action, Binding, REGISTRY, footer};
use crate::model::{Keyboard, Model, Table, View};
use crate::shown::Shown;
use crate::theme::{Role, Theme};

/// A word, a glyph and a role for what the display shows, so that colour is never alone.
fn badge(model: &Model) -> (&'static str, Role) {
    let run = model.live.as_ref().map(|live| &live.run);
    match (&model.frozen, &model.end, run) {
        (Some(_), _, _) => ("‖ FROZEN", Role::Warn),
        (None, Some(end), _) if words::end_is_good(end) => ("✗ ENDED ", Role::Strong),
        (None, Some(_), _) => ("✗ ENDED ", Role::Err),
        (None, None, None) => ("… WAITING", Role::Warn),
        (None, None, Some(RunState::Paused)) => ("■ PAUSED", Role::Warn),
        (None, None, Some(_)) => ("● LIVE  ", Role::Ok),
    }
}

/// First row: what this is, how fast it goes.
pub(crate) fn header(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer) {
    let (badge, role) = badge(model);
    let x = paint::left(buf, area, &Line::styled(format!(" {badge} "), theme.style(role)));
    let mut rest = Rect { x, width: area.right().saturating_sub(x), ..area };
    let name = match model.shown() {
        Some(shown) => {
            let numbers = Line::from(numbers(shown, area.width));
            let end = paint::right(buf, area, &numbers);
            rest.width = end.saturating_sub(x + 1);
            &shown.name
        }
        None => &model.name,
    };
    let name = if name.is_empty() { "guest" } else { name };
    paint::left(buf, rest, &Line::styled(format!(" {name}"), theme.style(Role::Strong)));
}

fn numbers(shown: &Shown, width: u16) -> String {
    let on = |vcpu: &&crate::shown::VcpuRow| vcpu.view.state != VcpuState::Stopped;
    let (n_on, n) = (shown.vcpus.iter().filter(on).count(), shown.vcpus.len());
    let vcpus = if n_on == n { format!("{n} vCPU") } else { format!("{n_on}/{n} vCPU") };
    let time = clock(shown.time_ns);
    let (exits, steps) = (si(shown.exits_rate), si(shown.steps_rate));
    match width {
        0..60 => format!("{exits:>5} exits/s "),
        60..76 => format!("{exits:>5} exits/s  {steps:>5} steps/s "),
        _ => format!("{vcpus}  {time}  {exits:>5} exits/s  {steps:>5} steps/s "),
    }
}

/// Second row: the views, how far behind the display is, the paper's claim.
pub(crate) fn tabs(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer) {
    let mut spans = vec![Span::raw(" ")];
    let views = [("1", "Overview", View::Overview), ("2", "Console", View::Console)];
    for (key, name, view) in views {
        if view == model.view {
            let style = theme.style(Role::Select).patch(theme.style(Role::Strong));
            spans.push(Span::styled(format!(" {key}▸{name} "), style));
        } else {
            spans.push(Span::styled(format!(" {key}"), theme.style(Role::Key)));
            spans.push(Span::raw(format!(" {name} ")));
        }
    }
    let x = paint::left(buf, area, &Line::from(spans)) + 2;
    let mut rest = Rect { x, width: area.right().saturating_sub(x), ..area };
    if let Some(shown) = model.shown() {
        let calls = shown.driver_calls;
        let role = if calls == 0 { Role::Ok } else { Role::Err };
        let line = Line::from(vec![
            Span::raw(if area.width < 76 {
                "driver calls: "
            } else {
                "driver calls after start: "
            }),
            Span::styled(format!("{calls} "), theme.style(role)),
        ]);
        rest.width = paint::right(buf, rest, &line).saturating_sub(x + 1);
    }
    if let Some(text) = beside(model) {
        paint::left(buf, rest, &Line::styled(text, theme.style(Role::Warn)));
    }
}

/// What the display does not show by itself.
fn beside(model: &Model) -> Option<String> {
    if let Some(seconds) = model.stalled {
        return Some(format!("… no answer for {seconds} s"));
    }
    let behind = model.ahead_ns()?;
    Some(match &model.end {
        Some(_) => "✗ the run has ended".into(),
        None if model.paused() => format!("■ paused {} later", ahead(behind)),
        None => format!("live is {} ahead", ahead(behind)),
    })
}

/// The row of keys, from the registry.
pub(crate) fn keys(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer) {
    let mut spans = vec![Span::raw(" ")];
    if model.keyboard == Keyboard::Guest && model.dialog.is_none() {
        let style = theme.style(Role::Select).patch(theme.style(Role::Strong));
        spans.push(Span::styled(" GUEST INPUT ", style));
        spans.push(Span::raw("  "));
        let keys = |action| REGISTRY.iter().find(|row| row.action == action).map(key_of);
        let prefix = keys(Action::Prefix).unwrap_or_default();
        for action in [Action::LeaveGuest, Action::SendPrefix] {
            let key = format!("{prefix} {}", keys(action).unwrap_or_default());
            spans.push(Span::styled(key, theme.style(Role::Key)));
            let short = REGISTRY.iter().find(|row| row.action == action).map_or("", |r| r.short);
            spans.push(Span::raw(format!(" {short}  ")));
        }
        if area.width >= 100 {
            spans.push(Span::raw("every other key goes to the guest"));
        }
    } else {
        let alive = |row: &&Binding| {
            model.end.is_none() || ![Action::Pause, Action::Type].contains(&row.action)
        };
        for row in footer(model.contexts()).filter(alive) {
            let short = if row.action == Action::Freeze && model.frozen.is_some() {
                "thaw"
            } else if row.action == Action::Pause && model.paused() {
                "go on"
            } else {
                row.short
            };
            let (key, short) = (key_of(row), format!(" {short}  "));
            let width: usize = spans.iter().map(Span::width).sum();
            if width + key.chars().count() + short.trim_end().len() > usize::from(area.width) {
                break;
            }
            spans.push(Span::styled(key, theme.style(Role::Key)));
            spans.push(Span::raw(short));
        }
    }
    paint::left(buf, area, &Line::from(spans));
}

fn key_of(row: &Binding) -> String {
    row.keys.first().map(ToString::to_string).unwrap_or_default()
}

/// The last row: why it is over, what was just said, or what the selected row means.
pub(crate) fn message(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer) {
    if let Some(message) = &model.message {
        let role = if message.warn { Role::Warn } else { Role::Text };
        let mark = if message.warn { "! " } else { "" };
        let line = Line::styled(format!(" {mark}{}", message.text), theme.style(role));
        paint::left(buf, area, &line);
        return;
    }
    if let Some(end) = &model.end {
        let role = if words::end_is_good(end) { Role::Strong } else { Role::Err };
        let style = theme.style(role).patch(theme.style(Role::Select));
        let text = words::end(end).replace(|c: char| c.is_control(), " ");
        buf.set_style(area, style);
        paint::left(buf, area, &Line::styled(format!(" ✗ {text}"), style));
        paint::right(buf, area, &Line::styled(" q leaves ", style));
        return;
    }
    if let Some(line) = hint(model, theme) {
        paint::left(buf, area, &line);
    }
}

fn hint(model: &Model, theme: Theme) -> Option<Line<'static>> {
    let shown = model.shown()?;
    match (model.view, model.table) {
        (View::Overview, Table::Causes) => {
            let n = shown.causes.len();
            let row = shown.causes.get(model.selection.cause.min(n.saturating_sub(1)))?;
            let name = format!(" {} {}", row.kind.glyph(), row.kind.name());
            Some(Line::from(vec![
                Span::styled(name, theme.style(Role::Kind(row.kind))),
                Span::styled(format!("  {}", words::explain(row.kind)), theme.style(Role::Dim)),
            ]))
        }
        (View::Overview, Table::Vcpus) => {
            let n = shown.vcpus.len();
            let row = shown.vcpus.get(model.selection.vcpu.min(n.saturating_sub(1)))?;
            let text = format!(
                " vCPU {}  {} steps, {} exits in all",
                row.view.id.0, row.view.steps, row.total
            );
            Some(Line::styled(text, theme.style(Role::Dim)))
        }
        (View::Console, _) => {
            let lost = model.console.lost();
            let text = format!(" {lost} bytes of output came faster than they were kept");
            (lost > 0).then(|| Line::styled(text, theme.style(Role::Warn)))
        }
    }
}
