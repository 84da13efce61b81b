// The parsers of src/core, each as a function of any bytes: what it reads must not crash it, and must hold what it
// promises.
//
// Called by t/fuzz/fuzzer.cpp (libFuzzer: make fuzz) and t/unit/fuzz_test.cpp (the seeds and their mutations, in CI).
#pragma once

#include <span>
#include <string_view>

namespace steadytext::fuzz {

struct Target {
    const char *name;  // the seeds are in t/fuzz/corpus/NAME
    void (*run)(std::string_view bytes);
};

[[nodiscard]] std::span<const Target> targets();

}  // namespace steadytext::fuzz
