//! The detectors. Each looks at a row and says how far from normal it is, in a unit of its own;
//! [`crate::tail`] makes probabilities of that.
//!
//! `judge` and `learn` are two steps, so that what is learned from can be decided in between. What says where
//! in the series we are (the last rows, the time of the season) moves on in `judge`; what is normal changes in
//! `learn`. Tests of change and drift compare the series with itself: they have nothing to learn apart.

mod adwin;
mod autoregressive;
mod change_point;
mod context;
mod cusum;
mod esd;
mod ets;
mod ewma;
mod extreme;
mod fixed;
mod forest;
mod half_space;
mod kswin;
mod layers;
mod mahalanobis;
mod matrix_profile;
mod neighbours;
mod period;
mod rare;
mod robust;
mod seasonal;
mod spectral;
mod step;
mod stl;
mod tails;
mod tree;

use crate::codec::{Reader, State, Writer};
use crate::config::{Config, Season};
use crate::error::Result;
use crate::method::Method;
use crate::random::mix;

pub(crate) use rare::text_as_value;

/// How far from normal a row is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    /// 0 is normal, more is less so; NaN when the detector can't tell yet.
    pub(crate) score: f64,
    /// What was expected of the value, NaN when the detector expects nothing in particular.
    pub(crate) expected: f64,
    /// How far a value is from the expected one when its score is 1.
    pub(crate) scale: f64,
    /// Whether the value is above (1) or below (-1) what is normal; 0 when neither can be said.
    pub(crate) side: i8,
}

impl Reading {
    /// The detector can't tell.
    pub(crate) const SILENT: Self = Self {
        score: f64::NAN,
        expected: f64::NAN,
        scale: f64::NAN,
        side: 0,
    };

    /// A score with no expectation of the value.
    pub(crate) fn of(score: f64, side: i8) -> Self {
        Self {
            score,
            side,
            ..Self::SILENT
        }
    }

    /// The distance of a value from the expected one, in scales.
    pub(crate) fn away(value: f64, expected: f64, scale: f64) -> Self {
        Self {
            score: (value - expected).abs() / scale,
            expected,
            scale,
            side: side(value - expected),
        }
    }
}

/// The sign of a difference.
pub(crate) fn side(difference: f64) -> i8 {
    i8::from(difference > 0.0) - i8::from(difference < 0.0)
}

/// A detector of one kind. Values are finite.
pub(crate) trait Detector: State {
    /// Scores that differ by less are the same: a series without noise has scores that hardly differ, and its tail
    /// would make much of that.
    const RESOLUTION: f64 = 0.01;

    /// Says how far from normal a row is.
    fn judge(&mut self, time: i64, values: &[f64]) -> Reading;

    /// Takes the row that was judged last as normal.
    fn learn(&mut self, time: i64, values: &[f64]);

    /// Adds to each column's share how much of the last score is due to it.
    fn blame(&self, shares: &mut [f64]) {
        shares.iter_mut().for_each(|share| *share += 1.0);
    }
}

macro_rules! detectors {
    ($($name:ident: $kind:ty),* $(,)?) => {
        /// A detector of any kind.
        #[derive(Debug, Clone)]
        pub(crate) enum Any {
            $(
                #[doc = stringify!($name)]
                $name($kind),
            )*
        }

        impl Any {
            /// Says how far from normal a row is.
            pub(crate) fn judge(&mut self, time: i64, values: &[f64]) -> Reading {
                match self { $(Self::$name(detector) => detector.judge(time, values),)* }
            }

            /// Takes the row that was judged last as normal.
            pub(crate) fn learn(&mut self, time: i64, values: &[f64]) {
                match self { $(Self::$name(detector) => detector.learn(time, values),)* }
            }

            /// Scores that differ by less are the same.
            pub(crate) fn resolution(&self) -> f64 {
                match self { $(Self::$name(_) => <$kind as Detector>::RESOLUTION,)* }
            }

            /// Adds to each column's share how much of the last score is due to it.
            pub(crate) fn blame(&self, shares: &mut [f64]) {
                match self { $(Self::$name(detector) => detector.blame(shares),)* }
            }
        }

        impl State for Any {
            fn save(&self, to: &mut Writer) {
                match self { $(Self::$name(detector) => detector.save(to),)* }
            }

            fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
                match self { $(Self::$name(detector) => detector.load(from),)* }
            }

            fn heap_bytes(&self) -> usize {
                match self { $(Self::$name(detector) => detector.heap_bytes(),)* }
            }
        }
    };
}

// Large ones are boxed, so that the state of a cheap one stays small.
detectors! {
    Ewma: ewma::Ewma,
    Robust: Box<robust::Robust>,
    Fixed: fixed::Fixed,
    Change: fixed::Change,
    Cusum: cusum::Cusum,
    Seasonal: Box<seasonal::Seasonal>,
    Forest: Box<forest::Forest>,
    HalfSpace: Box<half_space::HalfSpace>,
    Neighbours: Box<neighbours::Neighbours>,
    Context: Box<context::Context>,
    Extreme: extreme::Extreme,
    Spectral: Box<spectral::Spectral>,
    ChangePoint: Box<change_point::ChangePoint>,
    Adwin: Box<adwin::Adwin>,
    Kswin: Box<kswin::Kswin>,
    Rare: Box<rare::Rare>,
    Stl: Box<stl::Stl>,
    Esd: Box<esd::Esd>,
    Autoregressive: Box<autoregressive::Autoregressive>,
    Ets: Box<ets::Ets>,
    MatrixProfile: Box<matrix_profile::MatrixProfile>,
    Tails: Box<tails::Tails>,
    Mahalanobis: Box<mahalanobis::Mahalanobis>,
    Layers: Box<layers::Layers>,
}

impl<D: Detector> Detector for Box<D> {
    const RESOLUTION: f64 = D::RESOLUTION;

    fn judge(&mut self, time: i64, values: &[f64]) -> Reading {
        (**self).judge(time, values)
    }

    fn learn(&mut self, time: i64, values: &[f64]) {
        (**self).learn(time, values);
    }

    fn blame(&self, shares: &mut [f64]) {
        (**self).blame(shares);
    }
}

impl<S: State> State for Box<S> {
    fn save(&self, to: &mut Writer) {
        (**self).save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        (**self).load(from)
    }

    fn heap_bytes(&self) -> usize {
        size_of::<S>() + (**self).heap_bytes()
    }
}

/// The detectors of a configuration, each with the columns that it judges.
pub(crate) fn make(config: &Config) -> Vec<(Any, std::ops::Range<usize>)> {
    let all = 0..config.columns;
    let members: Vec<Method> = match config.method {
        Method::Auto if config.columns > 1 => vec![Method::Forest],
        Method::Auto => vec![],
        method => vec![method],
    };
    let mut made = Vec::new();
    for (index, method) in members.into_iter().enumerate() {
        let columns = if method.is_joint() { 1 } else { config.columns };
        for column in 0..columns {
            let place = (index * config.columns + column) as u64;
            let range = if method.is_joint() {
                all.clone()
            } else {
                column..column + 1
            };
            made.push((one(method, config, config.shingle, place), range));
        }
    }
    if config.method == Method::Auto {
        for column in all {
            let members = alone(config, column);
            made.extend(
                members
                    .into_iter()
                    .map(|member| (member, column..column + 1)),
            );
        }
    }
    made
}

/// The members of `auto` for a column: a value beside those of the past, with what led to it, and beside the same time
/// of the season; they miss different things. With few rows only some of them speak.
fn alone(config: &Config, column: usize) -> Vec<Any> {
    let place = |member: usize| (column * 16 + member) as u64;
    if config.columns > 1 {
        // The forest has the rows as a whole; a cheap detector per column keeps the state small.
        return vec![one(Method::Ewma, config, 0, place(0))];
    }
    if config.range.is_some() {
        // Who knows the range needs no examples: a level that never came before says more.
        return vec![one(Method::Context, config, 0, place(1))];
    }
    vec![
        one(Method::Neighbours, config, 1, place(1)),
        one(Method::Neighbours, config, 20, place(2)),
        one(Method::Seasonal, config, 0, place(3)),
    ]
}

/// A detector of the longest season, behind layers of the shorter ones if there are several.
fn one(method: Method, config: &Config, shingle: usize, place: u64) -> Any {
    let Season::Times(times) = config.season else {
        return single(method, config, shingle, place);
    };
    let given = times.iter().filter(|time| **time > 0);
    let mut shorter: Vec<i64> = given.copied().collect();
    let longest = shorter.pop().map_or(Season::None, Season::Time);
    let config = Config {
        season: longest,
        ..config.clone()
    };
    let inner = single(method, &config, shingle, place);
    match inner {
        Any::Seasonal(_) | Any::Stl(_) | Any::Esd(_) => {
            Any::Layers(Box::new(layers::Layers::new(&shorter, inner)))
        }
        other => other,
    }
}

/// A detector of one season at most.
fn single(method: Method, config: &Config, shingle: usize, place: u64) -> Any {
    let seed = mix(config.seed ^ mix(place + 1));
    let memory = config.memory_rows;
    let chosen = |given: usize, own: usize| if given == 0 { own } else { given };
    let columns = config.columns;
    match method {
        Method::Auto | Method::Ewma => Any::Ewma(ewma::Ewma::new(memory.min(1_000))),
        Method::RobustZ => Any::Robust(Box::new(robust::Robust::new(robust::Rule::Mad))),
        Method::Iqr => Any::Robust(Box::new(robust::Robust::new(robust::Rule::Iqr))),
        Method::Fixed => Any::Fixed(fixed::Fixed::new(config.allowed)),
        Method::Change => Any::Change(fixed::Change::new(false)),
        Method::Rate => Any::Change(fixed::Change::new(true)),
        Method::Cusum => Any::Cusum(cusum::Cusum::new(memory.min(1_000))),
        Method::PageHinkley => Any::Cusum(cusum::Cusum::page_hinkley()),
        Method::Seasonal => Any::Seasonal(Box::new(seasonal::Seasonal::new(config.season, false))),
        Method::HoltWinters => {
            Any::Seasonal(Box::new(seasonal::Seasonal::new(config.season, true)))
        }
        Method::Forest => Any::Forest(Box::new(forest::Forest::new(
            columns,
            chosen(shingle, if columns == 1 { 8 } else { 1 }),
            chosen(config.trees, 24),
            chosen(config.samples, 128),
            memory,
            seed,
        ))),
        Method::HalfSpace => Any::HalfSpace(Box::new(half_space::HalfSpace::new(
            columns,
            chosen(shingle, 1),
            chosen(config.trees, 25),
            seed,
        ))),
        Method::Neighbours => Any::Neighbours(Box::new(neighbours::Neighbours::new(
            if method == config.method { columns } else { 1 },
            chosen(shingle, 20),
            chosen(config.samples, 512),
            seed,
        ))),
        Method::Context => Any::Context(Box::new(context::Context::new(config.range))),
        Method::Extreme => Any::Extreme(extreme::Extreme::new(memory)),
        Method::Spectral => Any::Spectral(Box::new(spectral::Spectral::new())),
        Method::ChangePoint => Any::ChangePoint(Box::new(change_point::ChangePoint::new())),
        Method::Adwin => Any::Adwin(Box::new(adwin::Adwin::new())),
        Method::Kswin => Any::Kswin(Box::new(kswin::Kswin::new())),
        Method::Rare => Any::Rare(Box::new(rare::Rare::new(memory))),
        Method::Stl => Any::Stl(Box::new(stl::Stl::new(config.season))),
        Method::Esd => Any::Esd(Box::new(esd::Esd::new(config.season))),
        Method::Autoregressive => {
            Any::Autoregressive(Box::new(autoregressive::Autoregressive::new()))
        }
        Method::Ets => Any::Ets(Box::new(ets::Ets::new())),
        Method::MatrixProfile => Any::MatrixProfile(Box::new(matrix_profile::MatrixProfile::new(
            chosen(shingle, 16),
        ))),
        Method::Ecod => Any::Tails(Box::new(tails::Tails::new(tails::Rule::Ecod, columns))),
        Method::Copod => Any::Tails(Box::new(tails::Tails::new(tails::Rule::Copod, columns))),
        Method::Mahalanobis => {
            let memory = memory.min(1_000);
            Any::Mahalanobis(Box::new(mahalanobis::Mahalanobis::new(columns, memory)))
        }
    }
}

/// Whether the season of a configuration is looked for in the series.
pub(crate) fn is_found(season: Season) -> bool {
    season == Season::Auto
}
