# Whatever ends a call stops the engine that works for it within 50 ms, by the engine's own clock.
#
#   stops_soon($cluster, 'CLOSE',
#       begin   => sub { ...; return ($session, $pid) },   # a session with a call under way; is given the number of the try
#       working => sub { return $how_many },               # calls the engine is at work on: 1, or as many as `at_once` says; 0 when idle
#       end     => sub { my ($session, $pid) = @_; ... },
#       idle_at => sub { return $milliseconds });          # when it stopped, on CLOCK_MONOTONIC
#
# On a busy machine a signal and its answer wait for a processor each, so the best of five tries must do.
package SteadyText::Stops;

use strict;
use warnings;
use Exporter 'import';
use Test::More;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

our @EXPORT = qw(stops_soon);

my $slots = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');

sub now_ms { return clock_gettime(CLOCK_MONOTONIC) * 1000 }

sub stops_soon {
    my ($cluster, $what, %call) = @_;
    my $at_once = $call{at_once} // 1;
    my @took;
    for my $try (1 .. 5) {
        my ($session, $pid) = $call{begin}->($try);
        ok($cluster->wait_for(sub { $call{working}->() == $at_once }, 60), "$what: the engine is at work");
        my $start = now_ms();
        $call{end}->($session, $pid);
        ok($cluster->wait_for(sub { $call{working}->() == 0 }, 60), "$what: it stops");
        push @took, $call{idle_at}->() - $start;
        eval { $session->finish };
        ok($cluster->poll_until($slots, 0), "$what: the slot in shared memory is free");
        last if $took[-1] <= 50;
    }
    my ($best) = sort { $a <=> $b } @took;
    cmp_ok($best, '>=', 0, "$what: it was at work before");
    cmp_ok($best, '<=', 50, sprintf '%s: the engine stops %.1f ms later', $what, $best);
    note(sprintf '%s: the engine stopped after %s ms', $what, join ', ', map { sprintf '%.1f', $_ } @took);
    return;
}

1;
