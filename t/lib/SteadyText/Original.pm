# The PL/Python original as the upgrade's tests meet it: its script (t/data/original.sql) among those of the server, until the last
# test that needs it ends: several may run at once, each with a share of a lock.
#
#   use SteadyText::Original;      # skips the whole test where no script can be put there
#   $cluster->sql("CREATE EXTENSION pg_steadytext VERSION '2025.11.25'");
#
# Or as its package has it, with all its versions and its Python, while no other test needs the first:
#
#   use SteadyText::Original 'real';
package SteadyText::Original;

use strict;
use warnings;
use Fcntl qw(:flock);
use File::Basename qw(basename);
use File::Copy qw(copy);
use File::Path qw(make_path);
use File::Spec ();
use SteadyText::Cluster;
use Test::More;

our $has_python;
my (@placed, @made, $lock);

sub import {
    my ($class, $real) = @_;
    my $config = $ENV{PG_CONFIG} // (reverse sort glob '/usr/lib/postgresql/*/bin/pg_config')[0];
    chomp(my $directory = `$config --sharedir`);
    plan skip_all => "cannot write $directory/extension" unless -w "$directory/extension";
    open $lock, '>', File::Spec->tmpdir . '/steadytext-original-' . ($directory =~ tr{/}{-}r) or die "a lock: $!";
    if (!$real) {
        flock $lock, LOCK_SH or die "a share of the lock: $!";
        place("$SteadyText::Cluster::ROOT/t/data/original.sql", "$directory/extension/pg_steadytext--2025.11.25.sql");
        return;
    }
    plan skip_all => "postgresql-plpython3 is not installed" unless -e "$directory/extension/plpython3u.control";
    chomp(my $original = `$SteadyText::Cluster::ROOT/scripts/original`);
    plan skip_all => "the original cannot be fetched" if $?;
    flock $lock, LOCK_EX or die "the lock: $!";
    place($_, "$directory/extension/" . basename($_)) for glob "$original/sql/pg_steadytext--*.sql";
    # Its functions look for their Python in this directory, whatever the server's version is.
    my $python = '/usr/lib/postgresql/17/lib/pg_steadytext/python';
    my $mark = "$python/of-a-test";    # a test that was killed leaves it
    return if -e $python && !-e $mark;
    return unless eval { push @made, make_path($python); 1 };
    open my $file, '>', $mark or die "$mark: $!";
    close $file;
    push @placed, $mark;
    push @made, $python unless @made;
    place($_, "$python/" . basename($_)) for glob "$original/python/*.py";
    $has_python = 1;
    return;
}

sub place {
    my ($from, $to) = @_;
    copy($from, "$to.$$") && chmod(0644, "$to.$$") && rename("$to.$$", $to) or die "$to: $!";
    push @placed, $to;
    return;
}

# The last to leave takes it away.
END { local $?; unlink @placed and map { rmdir } reverse @made if @placed && flock $lock, LOCK_EX | LOCK_NB }

1;
