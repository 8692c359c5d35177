//! The detectors by name.

use crate::error::{Error, Result};

/// How anomalies are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Several detectors; which of them speak follows from the series' length and season.
    Auto,
    /// Distance from a moving average in moving deviations.
    Ewma,
    /// Distance from the median in median absolute deviations, over the last rows.
    RobustZ,
    /// Distance outside of the quartiles in their range, over the last rows.
    Iqr,
    /// Outside of bounds that are given.
    Fixed,
    /// The change from the row before.
    Change,
    /// The change from the row before, per time.
    Rate,
    /// A sum of deviations that a lasting shift drives up.
    Cusum,
    /// Page and Hinkley's test: a sum of deviations beside its least value.
    PageHinkley,
    /// Distance from what the same time of the season brought before.
    Seasonal,
    /// Holt and Winters: level, trend and season.
    HoltWinters,
    /// Random cut forest over the last rows.
    Forest,
    /// Half-space trees.
    HalfSpace,
    /// Distance of the last rows from the nearest ones before.
    Neighbours,
    /// How new the sequence of the last levels is.
    Context,
    /// Beyond all values so far.
    Extreme,
    /// What stands out of the spectrum of the last rows.
    Spectral,
    /// The probability that a new regime has begun.
    ChangePoint,
    /// A window that shrinks when its means differ.
    Adwin,
    /// Kolmogorov and Smirnov's distance between the last rows and those before.
    Kswin,
    /// How rare a text is.
    Rare,
    /// What STL leaves: seasons and trend are taken away by LOESS.
    Stl,
    /// Seasonal hybrid ESD: a test for outliers over what STL leaves.
    Esd,
    /// Distance from the forecast of an autoregression.
    Autoregressive,
    /// Distance from the forecast of exponential smoothing whose parameters are chosen as it goes on.
    Ets,
    /// How far the last rows' shape is from the nearest before.
    MatrixProfile,
    /// How far out a row is in the tails of its columns.
    Ecod,
    /// The same by an empirical copula.
    Copod,
    /// Distance from the mean of all columns in their covariance.
    Mahalanobis,
}

/// Every method, with its names in SQL; the first is the one that is told.
const NAMES: [(Method, &[&str]); 29] = [
    (Method::Auto, &["auto"]),
    (Method::Ewma, &["ewma", "z"]),
    (Method::RobustZ, &["robust_z", "mad"]),
    (Method::Iqr, &["iqr"]),
    (Method::Fixed, &["fixed", "static"]),
    (Method::Change, &["change"]),
    (Method::Rate, &["rate"]),
    (Method::Cusum, &["cusum"]),
    (Method::PageHinkley, &["page_hinkley"]),
    (Method::Seasonal, &["seasonal"]),
    (Method::HoltWinters, &["holt_winters"]),
    (Method::Forest, &["rcf", "random_cut_forest"]),
    (Method::HalfSpace, &["half_space_trees", "hst"]),
    (Method::Neighbours, &["knn"]),
    (Method::Context, &["context"]),
    (Method::Extreme, &["extreme"]),
    (Method::Spectral, &["spectral_residual"]),
    (Method::ChangePoint, &["change_point", "bocpd"]),
    (Method::Adwin, &["adwin"]),
    (Method::Kswin, &["kswin"]),
    (Method::Rare, &["rare"]),
    (Method::Stl, &["stl"]),
    (Method::Esd, &["s_h_esd", "esd"]),
    (Method::Autoregressive, &["ar", "arima"]),
    (Method::Ets, &["ets"]),
    (Method::MatrixProfile, &["matrix_profile"]),
    (Method::Ecod, &["ecod"]),
    (Method::Copod, &["copod"]),
    (Method::Mahalanobis, &["mahalanobis"]),
];

impl Method {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(method, _)| *method)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(method, _)| *method == self);
        found
            .and_then(|(_, names)| names.first())
            .copied()
            .unwrap_or("auto")
    }

    /// The method of a name, in any case.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = NAMES
            .iter()
            .find(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name)));
        match found {
            Some((method, _)) => Ok(*method),
            None => Err(Error::Setting("method", "one of the known names")),
        }
    }

    /// Whether it judges texts and not numbers.
    pub fn is_of_texts(self) -> bool {
        self == Self::Rare
    }

    /// Whether one detector judges all columns of a row together; otherwise each has its own.
    pub fn is_joint(self) -> bool {
        matches!(
            self,
            Self::Forest
                | Self::HalfSpace
                | Self::Neighbours
                | Self::Ecod
                | Self::Copod
                | Self::Mahalanobis
        )
    }
}
