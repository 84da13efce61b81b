// A connection string is read as libpq reads it, and holds only what has a place in it; a refusal shows no value.
#include "src/core/conninfo.hpp"

#include <gtest/gtest.h>

#include <string>

namespace {

using namespace steadytext::core;

TEST(ConninfoTest, TakesKeywordsAndValues) {
    for (const char *text : {"host=a", " host = a  port=1\tuser=b ", "host='a b' user='it\\'s'port=1",
                             "host=a\\ b user=c", "host= user=", "host=''", "host=a\\"}) {
        Problem problem;
        EXPECT_TRUE(is_conninfo(text, problem)) << text;
        EXPECT_FALSE(problem.is_set()) << text;
    }
}

TEST(ConninfoTest, RefusesTheRest) {
    for (const char *text : {"",
                             " ",
                             "host",
                             "host a",
                             "=a",
                             "host=a b",
                             "host='a",
                             "host='a\\'",
                             "host=a 1=2",
                             "HOST=a",
                             "postgres://a:secret@b",
                             "postgresql:///?password=secret",
                             "host=a password=secret",
                             "host=a password = 'secret'",
                             "dbname=a",
                             "host=a\\ b password=secret",
                             "host='a' 'password=secret'",
                             "host='x'password=secret",
                             "options=secret",
                             "sslpassword=secret",
                             "replication=1",
                             "client_encoding=a",
                             "nonsense=secret"}) {
        Problem problem;
        EXPECT_FALSE(is_conninfo(text, problem)) << text;
        EXPECT_STREQ(problem.sqlstate, "22023") << text;
        EXPECT_EQ(std::string(problem.detail).find("secret"), std::string::npos) << text;
    }
}

}  // namespace
