// conf/validate.h - the checks that need more than one value: names that must exist, things that
// must not appear twice, a RAM budget that must be enough.
#pragma once
#include "conf/mistake.h"
#include "conf/plan.h"
#include "conf/settings.h"

namespace segue::conf {

/// Fills what may be left out and follows from the rest (the node's name, the default site, the
/// origin of a site where there is only one), then reports every contradiction.
void complete_and_validate(Settings& settings, const Machine& machine, Mistakes& mistakes);

}  // namespace segue::conf
