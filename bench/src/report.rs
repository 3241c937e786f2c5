//! What was measured: lines for people and programs, a comparison with earlier lines, and plots.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context;
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

/// Rates, or other figures, of one contender: one of each round.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    pub fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() % 2 {
            _ if sorted.is_empty() => f64::NAN,
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        }
    }

    /// Returns the difference between the largest and the smallest figure, as a part of the median.
    pub fn spread(&self) -> f64 {
        let largest = self.0.iter().copied().fold(f64::MIN, f64::max);
        let smallest = self.0.iter().copied().fold(f64::MAX, f64::min);
        (largest - smallest) / self.median()
    }
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    #[serde(rename = "1/s")]
    PerSecond,
    #[serde(rename = "ns")]
    Nanoseconds,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "B")]
    Bytes,
}

/// One figure, and the figure of its counterpart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// What was measured, as `seal/100B/one` or `consume/pure/200B`.
    pub name: String,
    pub unit: Unit,
    /// The median of the rounds.
    pub ours: f64,
    /// The difference between the largest and the smallest figure, as a part of the median.
    pub spread: f64,
    /// The counterpart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Counterpart>,
    /// How many times better ours is; 1 if both are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
}

/// What a figure is compared with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counterpart {
    pub name: String,
    pub figure: f64,
    pub spread: f64,
}

impl Unit {
    /// Returns whether a larger figure is better.
    fn is_rate(self) -> bool {
        self == Self::PerSecond
    }
}

impl Line {
    pub fn new(name: impl Into<String>, unit: Unit, ours: &Figures) -> Self {
        Self {
            name: name.into(),
            unit,
            ours: ours.median(),
            spread: ours.spread(),
            against: None,
            ratio: None,
        }
    }

    pub fn against(mut self, name: &str, theirs: &Figures) -> Self {
        let figure = theirs.median();
        self.ratio = Some(if self.unit.is_rate() {
            self.ours / figure
        } else {
            figure / self.ours
        });
        self.against = Some(Counterpart {
            name: name.to_owned(),
            figure,
            spread: theirs.spread(),
        });
        self
    }

    fn figure(&self, figure: f64) -> String {
        match self.unit {
            Unit::PerSecond if figure >= 1e6 => format!("{:.2} M/s", figure / 1e6),
            Unit::PerSecond if figure >= 1e3 => format!("{:.0} k/s", figure / 1e3),
            Unit::PerSecond => format!("{figure:.1} /s"),
            Unit::Nanoseconds if figure.abs() >= 1e6 => format!("{:.1} ms", figure / 1e6),
            Unit::Nanoseconds if figure.abs() >= 1e3 => format!("{:.2} µs", figure / 1e3),
            Unit::Nanoseconds => format!("{figure:.0} ns"),
            Unit::Seconds => format!("{figure:.3} s"),
            Unit::Bytes => format!("{:.1} MB", figure / 1e6),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = self.figure(self.ours);
        let spread = self.spread * 100.0;
        write!(f, "{:<28} {ours:>12} ±{spread:<3.0}%", self.name)?;
        if let (Some(against), Some(ratio)) = (&self.against, self.ratio) {
            let figure = self.figure(against.figure);
            write!(f, "  {ratio:>6.2} × {figure:>12}  {}", against.name)?;
        }
        Ok(())
    }
}

/// Prints a line as soon as it is measured, and keeps it.
pub struct Report {
    json: bool,
    lines: Vec<Line>,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self {
            json,
            lines: Vec::new(),
        }
    }

    pub fn add(&mut self, line: Line) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(&line)?);
        } else {
            println!("{line}");
        }
        self.lines.push(line);
        Ok(())
    }

    /// Prints what changed since an earlier run, whose lines stand in a file.
    pub fn compare_with(&self, file: &Path) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let mut before = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with('{')) {
            let line: Line = serde_json::from_str(line)
                .with_context(|| format!("{}: {line}", file.display()))?;
            before.insert(line.name.clone(), line);
        }
        eprintln!("\nsince {}:", file.display());
        for now in &self.lines {
            let Some(before) = before.get(&now.name) else {
                eprintln!("{:<28} is new", now.name);
                continue;
            };
            // A ratio of one run does not depend on the machine.
            let (what, was, is) = match (before.ratio, now.ratio) {
                (Some(was), Some(is)) => ("ratio", was, is),
                _ => ("figure", before.ours, now.ours),
            };
            let change = (is / was - 1.0) * 100.0;
            eprintln!(
                "{:<28} {what} {was:.3} → {is:.3} ({change:+.1} %)",
                now.name
            );
        }
        Ok(())
    }

    /// Prints a table in Markdown.
    pub fn print_markdown(&self) {
        println!("\n| what | kc | beside it | ratio |\n|---|---:|---:|---:|");
        for line in &self.lines {
            let ours = line.figure(line.ours);
            let (theirs, ratio) = match (&line.against, line.ratio) {
                (Some(against), Some(ratio)) => (
                    format!("{} ({})", line.figure(against.figure), against.name),
                    format!("{ratio:.2}"),
                ),
                _ => (String::new(), String::new()),
            };
            println!("| `{}` | {ours} | {theirs} | {ratio} |", line.name);
        }
    }

    /// Draws all ratios as bars into an SVG file.
    pub fn plot(&self, file: &Path) -> anyhow::Result<()> {
        let bars: Vec<(&str, f64)> = self
            .lines
            .iter()
            .filter_map(|line| Some((line.name.as_str(), line.ratio?)))
            .collect();
        let most = bars.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max);
        let height = u32::try_from(bars.len())? * 22 + 60;
        let area = SVGBackend::new(file, (900, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let text = ("sans-serif", 13).into_font();
        let scale = 560.0 / most;
        for (row, (name, ratio)) in (0..).zip(&bars) {
            let top = 30 + row * 22;
            let end = 240 + (ratio * scale) as i32;
            let color = if *ratio >= 1.0 { &GREEN } else { &RED };
            area.draw(&Rectangle::new(
                [(240, top), (end, top + 14)],
                color.mix(0.5).filled(),
            ))?;
            area.draw(&Text::new((*name).to_owned(), (10, top), text.clone()))?;
            area.draw(&Text::new(
                format!("{ratio:.2}"),
                (end + 6, top),
                text.clone(),
            ))?;
        }
        let one = 240 + scale as i32;
        let line = [(one, 20), (one, height.cast_signed() - 30)];
        area.draw(&PathElement::new(line, BLACK))?;
        area.draw(&Text::new("1", (one - 3, 4), text))?;
        area.present()?;
        Ok(())
    }
}
