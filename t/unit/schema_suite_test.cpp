// The official JSON-Schema-Test-Suite, draft 2020-12, held against what is checked of an answer.
// STEADYTEXT_SCHEMA_SUITE names its folder (scripts/schema-suite); without it the test is skipped.
//
// A schema that is refused is counted, as its keyword is not promised; one that is taken must be right about every
// document.
#include "src/core/constraint/formats.hpp"
#include "src/core/constraint/json_value.hpp"
#include "src/core/constraint/schema.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <sstream>

namespace {

using namespace steadytext::core;
using namespace steadytext::core::constraint;

struct Score {
    int right = 0, wrong = 0, refused = 0;
};

Json read_file(const std::filesystem::path &path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    Json json;
    EXPECT_TRUE(read_json(text.str(), json)) << path;
    return json;
}

// Refused for a keyword that docs/structured.md does not promise, or the way in which keywords stand together.
bool is_refused(const std::string &schema) {
    Network network;
    Problem problem;
    return !compile_schema(schema, network, problem) && std::string_view(problem.detail) != "No value satisfies it.";
}

Score score_of(const std::filesystem::path &path) {
    Score score;
    for (const Json &group : read_file(path)) {
        const std::string schema = write_json(group["schema"]);
        const bool refused = is_refused(schema);
        for (const Json &test : group["tests"]) {
            const std::string document = write_json(test["data"]);
            Problem problem;
            const bool wanted = test["valid"].get<bool>();
            if (refused) {
                score.refused++;
            } else if (check_document(schema, document, problem) == wanted) {
                score.right++;
            } else {
                score.wrong++;
                ADD_FAILURE() << path.filename() << ": " << group["description"] << ": " << test["description"] << "\n"
                              << schema << "\n"
                              << document << (wanted ? " was refused: " : " was taken") << problem.detail;
            }
        }
    }
    return score;
}

void add(Score &sum, const Score &other) {
    sum.right += other.right;
    sum.wrong += other.wrong;
    sum.refused += other.refused;
}

TEST(SchemaSuite, IsRightAboutEveryDocumentOfASchemaThatIsTaken) {
    const char *folder = std::getenv("STEADYTEXT_SCHEMA_SUITE");
    if (folder == nullptr)
        GTEST_SKIP() << "STEADYTEXT_SCHEMA_SUITE is not set";
    // Not of this project's kind: where a format is no more than a note, and where another schema says which keywords
    // count.
    const std::set<std::string> others{"format", "vocabulary"};
    Score required;
    for (const auto &entry : std::filesystem::directory_iterator(folder))
        if (entry.path().extension() == ".json" && !others.contains(entry.path().stem().string())) {
            const Score score = score_of(entry.path());
            std::printf("%-28s %3d right %3d refused\n", entry.path().stem().c_str(), score.right, score.refused);
            add(required, score);
        }
    Score formats;
    for (const auto &entry : std::filesystem::directory_iterator(std::filesystem::path(folder) / "optional" / "format"))
        if (find_format(entry.path().stem().string()) != nullptr)
            add(formats, score_of(entry.path()));
    std::printf("JSON-Schema-Test-Suite, draft 2020-12, required part: %d right, %d wrong, %d refused; formats "
                "promised: %d right, %d wrong\n",
                required.right, required.wrong, required.refused, formats.right, formats.wrong);
    EXPECT_GT(required.right, 400);
    EXPECT_GT(formats.right, 100);
}

}  // namespace
