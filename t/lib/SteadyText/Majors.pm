# PostgreSQL's other major versions (scripts/fetch-postgres) with the extension in them: for tests that need more than the one at hand.
package SteadyText::Majors;

use strict;
use warnings;
use File::Temp ();
use IPC::Run ();
use SteadyText::Cluster;

my %places;

sub all { return split ' ', `$SteadyText::Cluster::ROOT/scripts/fetch-postgres --majors` }

# Why it cannot be had; nothing if it can.
sub missing {
    my ($major) = @_;
    my $said;
    return if IPC::Run::run([ "$SteadyText::Cluster::ROOT/scripts/fetch-postgres", $major ], '<', \undef, '>&', \$said);
    return (split /\n/, $said)[-1] // 'it does not say why';
}

# Builds the extension for it, where a warning is an error, and installs it into a server of its own: (its directory of programs, what was said).
sub install {
    my ($major) = @_;
    my $place = $places{$major} //= File::Temp->newdir('steadytext-server-XXXXXX', TMPDIR => 1);
    chmod 0755, "$place";
    local $ENV{CI} = 1;
    my ($config, $said) = ('', '');
    IPC::Run::run([ "$SteadyText::Cluster::ROOT/scripts/check-major", $major, '--install', "$place" ], '<', \undef, '>', \$config, '2>', \$said) or return (undef, $said);
    chomp $config;
    return ($config =~ s{/pg_config$}{}r, $said);
}

1;
