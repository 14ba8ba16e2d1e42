// report.html: what a run looks like, on one page that needs nothing else: curves of every loss term, the
// first and the last sample, the configuration, the machine.
#pragma once

#include <string>

#include "luxgrad/training/checkpoint.h"

namespace lux {

/// The page of a run folder, made of its log.csv and samples as they are now; a run without steps has no
/// curves. `config` are the facts of the run.
std::string report_of(const std::string& run, const Facts& config);

}  // namespace lux
