//! vCPUs, exits per second, exits by cause.

use std::sync::LazyLock;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use session::ExitKind;

use super::table::{Column, Table};
use super::{guest, paint, words};
use crate::format::{count, nanos, percent, si};
use crate::model::{self, Model};
use crate::rates::History;
use crate::shown::{CauseRow, Shown, VcpuRow};
use crate::theme::{Role, Theme};

/// From this width on the vCPUs share their rows with the facts about the guest.
const WIDE: u16 = 120;
/// Width of the vCPUs there.
const VCPUS_WIDTH: u16 = 80;
/// Rows of the graph that are worth its border.
const GRAPH_MIN: u16 = 2;
/// Columns of the graph's scale.
const SCALE: u16 = 7;

/// Where the panes are. Boxes that lie above each other share a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panes {
    pub(crate) vcpus: Option<Rect>,
    pub(crate) guest: Option<Rect>,
    pub(crate) graph: Option<Rect>,
    pub(crate) causes: Option<Rect>,
}

/// Divides `body`: the tables get what they need, the graph gets the rest.
pub(crate) fn panes(body: Rect, n_vcpus: u16, focus: model::Table) -> Panes {
    let none = Panes { vcpus: None, guest: None, graph: None, causes: None };
    // Two boxes, each with a heading and two rows, and one border between.
    if body.height < 9 {
        return match focus {
            model::Table::Vcpus => Panes { vcpus: Some(body), ..none },
            model::Table::Causes => Panes { causes: Some(body), ..none },
        };
    }
    let wide = body.width >= WIDE && body.height >= 30;
    let inside = body.height - 4;
    let vcpus_want = if wide { (1 + n_vcpus).max(guest::ROWS) } else { 1 + n_vcpus };
    let vcpus = vcpus_want.max(2).min(inside * 2 / 5);
    let causes_want = 1 + u16::try_from(ExitKind::ALL.len()).unwrap_or(0);
    let left = inside - vcpus;
    // A third for the graph, more if the table of causes has no use for it.
    let graph = (left / 3).min(3).max(left.saturating_sub(causes_want));
    let has_graph = graph >= GRAPH_MIN;
    let mut y = body.y;
    let mut take = |rows: u16| {
        let area = Rect { y, height: rows + 2, ..body };
        y += rows + 1;
        area
    };
    let top = take(vcpus);
    let graph_area = has_graph.then(|| take(graph));
    let causes = Rect { y, height: body.bottom() - y, ..body };
    let split = Rect { width: VCPUS_WIDTH, ..top };
    // Beside each other the boxes share a column.
    let beside = Rect {
        x: top.x + VCPUS_WIDTH - 1,
        width: (top.width + 1).saturating_sub(VCPUS_WIDTH),
        ..top
    };
    Panes {
        vcpus: Some(if wide { split } else { top }),
        guest: wide.then_some(beside),
        graph: graph_area,
        causes: Some(causes),
    }
}

/// Draws the view.
pub(crate) fn draw(model: &Model, theme: Theme, body: Rect, buf: &mut Buffer) {
    let Some(shown) = model.shown() else {
        let middle = body.y + body.height / 2;
        let style = theme.style(Role::Dim);
        paint::centred(buf, body, middle, "waiting for the first answer of the run", style);
        return;
    };
    let n_vcpus = u16::try_from(shown.vcpus.len()).unwrap_or(u16::MAX - 1);
    let panes = panes(body, n_vcpus, model.table);
    if let Some(area) = panes.guest {
        let title = paint::title("guest", theme);
        let inside = paint::boxed(buf, area, title, false, false, theme);
        guest::draw(shown, theme, inside, buf);
    }
    if let Some(area) = panes.vcpus {
        let focus = model.table == model::Table::Vcpus;
        let title = paint::title("vCPUs", theme);
        let inside = paint::boxed(buf, area, title, focus, false, theme);
        let selected = model.selection.vcpu;
        let table = Table { columns: &VCPU_COLUMNS, rows: &shown.vcpus, selected, focus };
        table.draw(inside, theme, buf);
    }
    if let Some(area) = panes.graph {
        let overlap = panes.vcpus.map(|above| above.bottom() - 1);
        graph(shown, theme, area, overlap.is_some(), buf);
        if let (Some(beside), Some(y)) = (panes.guest, overlap) {
            buf[(beside.x, y)].set_symbol("┴");
        }
    }
    if let Some(area) = panes.causes {
        causes(model, shown, theme, area, panes, buf);
    }
    if let (Some(beside), Some(_)) = (panes.guest, panes.vcpus) {
        buf[(beside.x, beside.y)].set_symbol("┬");
    }
}

fn graph(shown: &Shown, theme: Theme, area: Rect, joined: bool, buf: &mut Buffer) {
    let width = area.width.saturating_sub(2 + SCALE + 1);
    let span = History::span(usize::from(width)).as_secs();
    let title = paint::title(&format!("exits/s · last {span} s"), theme);
    let inside = paint::boxed(buf, area, title, false, joined, theme);
    let columns = shown.history.columns(usize::from(width), |kinds| kinds.iter().sum());
    let max = paint::ceiling(columns.iter().flatten().copied().fold(0.0, f64::max));
    let plot = Rect { x: inside.x + SCALE, width, ..inside };
    let (style, dim) = (theme.style(Role::Graph), theme.style(Role::Dim));
    paint::graph(buf, plot, &columns, max, style, dim);
    let scale = Rect { width: SCALE - 1, height: 1, ..inside };
    let top = Line::styled(si(max), dim);
    if max > 0.0 {
        paint::right(buf, scale, &top);
    }
    let bottom = Rect { y: inside.bottom().saturating_sub(1), ..scale };
    paint::right(buf, bottom, &Line::styled("0", dim));
}

fn causes(model: &Model, shown: &Shown, theme: Theme, area: Rect, panes: Panes, buf: &mut Buffer) {
    let (joined, has_guest) = (panes.vcpus.is_some(), panes.guest.is_some());
    let focus = model.table == model::Table::Causes;
    let title = paint::title("exits by cause", theme);
    let inside = paint::boxed(buf, area, title, focus, joined, theme);
    if !has_guest {
        let (mapped, share) = guest::memory(shown);
        let text = format!(" memory {mapped} mapped {:>4} ", percent(share));
        let mut spans = vec![Span::raw(text)];
        let cells = usize::from(area.width).saturating_sub(68).min(20);
        spans.extend(paint::bar(share, cells, theme));
        spans.push(Span::raw(" "));
        let bottom = Rect { x: area.x + 1, y: area.bottom() - 1, width: area.width - 2, height: 1 };
        paint::left(buf, bottom, &Line::from(spans));
    }
    let times = Line::styled(format!(" {} ", guest::timing(shown)), theme.style(Role::Dim));
    let top = Rect { x: area.x + 1, y: area.y, width: area.width - 2, height: 1 };
    paint::right(buf, top, &times);
    if shown.causes.is_empty() {
        let style = theme.style(Role::Dim);
        paint::centred(buf, inside, inside.y + inside.height / 2, "no exits yet", style);
        return;
    }
    let rows: Vec<Cause<'_>> =
        shown.causes.iter().map(|row| Cause { row, history: &shown.history }).collect();
    let selected = model.selection.cause;
    Table { columns: &cause_columns(), rows: &rows, selected, focus }.draw(inside, theme, buf);
}

/// A row together with the history in which its trend is.
struct Cause<'a> {
    row: &'a CauseRow,
    history: &'a History,
}

fn text(text: String) -> Vec<Span<'static>> {
    vec![Span::raw(text)]
}

/// A dash for what was not measured.
fn maybe<T>(value: Option<T>, format: impl Fn(T) -> String) -> Vec<Span<'static>> {
    text(value.map_or_else(|| "–".into(), format))
}

fn kind(kind: ExitKind, theme: Theme) -> Vec<Span<'static>> {
    vec![
        Span::styled(kind.glyph().to_string(), theme.style(Role::Kind(kind))),
        Span::raw(format!(" {}", kind.name())),
    ]
}

fn column<R>(
    title: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&R, usize, Theme) -> Vec<Span<'static>>,
) -> Column<R> {
    Column { title, width, grow: 0, right: true, rank, cell }
}

/// Also in the tables' order from left to right.
static VCPU_COLUMNS: LazyLock<Vec<Column<VcpuRow>>> = LazyLock::new(|| {
    vec![
        column("id", 2, 0, |r, _, _| text(r.view.id.0.to_string())),
        Column {
            right: false,
            ..column("st", 3, 0, |r, _, theme| {
                let (word, role) = words::state(r.view.state);
                vec![Span::styled(word, theme.style(role))]
            })
        },
        Column { right: false, ..column("md", 2, 3, |r, _, _| text(r.view.mode.to_string())) },
        column("exits/s", 7, 0, |r, _, _| text(si(r.rate))),
        column("exits", 5, 9, |r, _, _| text(count(r.total))),
        column("steps/exit", 10, 5, |r, _, _| maybe(r.steps, si)),
        column("p50", 6, 4, |r, _, _| maybe(r.times.p50, nanos)),
        column("p99", 6, 2, |r, _, _| maybe(r.times.p99, nanos)),
        Column {
            right: false,
            ..column("top cause", 14, 1, |r, _, theme| match r.top {
                Some(top) => kind(top, theme),
                None => text("–".into()),
            })
        },
        column("pc", 16, 6, |r, _, _| text(format!("{:016x}", r.view.pc))),
    ]
});

fn cause_columns<'a>() -> [Column<Cause<'a>>; 10] {
    [
        Column { right: false, ..column("cause", 14, 0, |r, _, theme| kind(r.row.kind, theme)) },
        column("n/s", 5, 0, |r, _, _| text(si(r.row.rate))),
        column("", 4, 1, |r, _, _| text(percent(r.row.share))),
        Column {
            right: false,
            grow: 20,
            ..column("share", 10, 5, |r, width, theme| paint::bar(r.row.share, width, theme))
        },
        Column {
            right: false,
            grow: 60,
            ..column("trend", 16, 9, |r, width, theme| {
                let columns = r.history.columns(width, |kinds| kinds[r.row.kind.index()]);
                let max = columns.iter().flatten().copied().fold(0.0, f64::max);
                vec![Span::styled(paint::sparkline(&columns, max), theme.style(Role::Graph))]
            })
        },
        column("p50", 6, 3, |r, _, _| maybe(r.row.times.p50, nanos)),
        column("p99", 6, 2, |r, _, _| maybe(r.row.times.p99, nanos)),
        column("max", 6, 6, |r, _, _| maybe(r.row.times.max, nanos)),
        column("steps/exit", 10, 7, |r, _, _| maybe(r.row.steps, si)),
        column("total", 5, 4, |r, _, _| text(count(r.row.total))),
    ]
}
