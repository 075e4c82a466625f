// The project: one app. The packages of Rejoin come from the local Maven repository, where README.md installs them.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        mavenLocal { content { includeGroup("dev.rejoin") } }
        google()
        mavenCentral()
    }
}

rootProject.name = "rejoin-todo"
include(":app")
