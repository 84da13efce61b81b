# The C++ unit tests, built plainly; t/006_sanitizers.pl builds them under sanitizers.
use strict;
use warnings;
use SteadyText::UnitTests;
use Test::More;

SteadyText::UnitTests::pass('plain');
done_testing;
