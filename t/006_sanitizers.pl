# The C++ unit tests again, under AddressSanitizer with UBSan, and under ThreadSanitizer.
use strict;
use warnings;
use SteadyText::UnitTests;
use Test::More;

SteadyText::UnitTests::pass($_) for qw(asan tsan);
done_testing;
